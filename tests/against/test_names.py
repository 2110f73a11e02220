"""Every function, class, enum and dtype that a translation names is the object that both programs compare with.

Megatron Core has some functions twice: ``quick_gelu`` of ``activations`` computes what ``quick_gelu`` of
``fused_bias_geglu`` computes, and code asks ``is it this one?``. So whatever Megatron-LM's own sources call by the
last part of a name, by ``from module import name`` or as ``module.name``, has to be the very object meant here.

The names are found, not listed: strings in this package, in the tables and in the schema of the installed Bridge, and
everything that translations of all arguments, one by one, hold.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.names import ROLES, Name
from bridge_args.emulation import placeholders
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.values import Built, Member, Partial, Symbol
from bridge_args.versions import Versions, holds

pytestmark = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="Megatron Core is absent")

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
VERSIONS = chosen_versions()
BRIDGE = VERSIONS.bridge
NAME = re.compile(r"(?:torch|megatron\.core|megatron\.bridge)(?:\.(?!py\b)[A-Za-z_]\w*)+")  # no file


# ----------------------------------------------------------------------------------- our names


def written() -> set[str]:
    """Dotted names in string constants of the package, at the top of its modules, and in the tables."""
    names: set[str] = set()
    for path in (ROOT / "bridge_args").rglob("*.py"):
        if "migrate" in path.parts or "nemo2" in str(path.relative_to(ROOT)):
            continue  # as for the tables of migrations, below
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                names.add(node.value)
    for path in (ROOT / "bridge_args" / "mapping" / "sections").glob("*.py"):  # names put together from parts
        module = importlib.import_module(f"bridge_args.mapping.sections.{path.stem}")
        for value in vars(module).values():
            names |= {value} if isinstance(value, str) and NAME.fullmatch(value) else set(named(value))
    for path in (ROOT / "mappings").rglob("*.yaml"):
        if path.parent.name in ("nemo", "bridge"):
            continue  # what classes are called elsewhere, or in another Bridge; tests/migrate loads what is made of it
        names |= {name for name in re.findall(r"[\w.]+", path.read_text()) if NAME.fullmatch(name)}
    return names


def named(value: Any) -> Iterator[str]:
    """The names inside a value of a translation, or of a run config."""
    match value:
        case Symbol(path):
            yield path
        case Member(enum, _, _):
            yield enum
        case Partial(path, kwargs) | Built(path, kwargs):
            yield path
            yield from named(dict(kwargs))
        case dict():
            if isinstance(target := value.get("_target_"), str):
                yield target
            for item in value.values():
                yield from named(item)
        case list() | tuple():
            for item in value:
                yield from named(item)


BASE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --train-iters 10 --eval-interval 10 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 100"
).split()
WITH = ("--num-experts 4", "--multi-latent-attention --position-embedding-type rope", "--transformer-impl local")
HYBRID = "--spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec"


def occurrences(argument: Argument) -> Iterator[list[str]]:
    """A switch, or an argument with each of its choices; numbers and paths name nothing."""
    if argument.action != "store":
        yield [argument.flags[0]]
    for value in argument.choices or argument.members or ():
        yield [argument.flags[0], str(value)]


@lru_cache(maxsize=None)
def translated() -> frozenset[str]:
    """Names in the translations of every switch and every choice, one at a time."""
    names: set[str] = set()
    alone = [words for argument in catalogs.load(VERSIONS.megatron).arguments for words in occurrences(argument)]
    lines = [("pretrain_gpt.py", words) for words in alone + [few.split() for few in WITH]]
    for program, words in [*lines, ("pretrain_mamba.py", HYBRID.split())]:
        t = bridge_args.translate([*BASE, *words], 1, bridge=BRIDGE, program=program, env={}, read=nothing)
        for assignment in t.assignments:
            names |= set(named(assignment.value))
    return frozenset(name for name in names if NAME.fullmatch(name))


def nothing(path: str) -> str:
    raise FileNotFoundError(path)


@lru_cache(maxsize=None)
def ours() -> tuple[str, ...]:
    schema = schemas.load(BRIDGE)
    known = {name for name in (*schema.enums, *schema.classes, schema.container) if NAME.fullmatch(name)}
    defaults = {
        name
        for owner, fields in schema.classes.items()
        if not owner.endswith(".T5ModelProvider")  # no program that we read trains one
        for field in fields.values()
        for name in named(field.default)
    }
    return tuple(sorted(name for name in written() | translated() | known | defaults if NAME.fullmatch(name)))


# -------------------------------------------------------------------------- what others call so


@lru_cache(maxsize=None)
def sources() -> tuple[Path, ...]:
    """Megatron Core and Bridge as installed; where there is a checkout, Megatron-LM's training code and programs."""
    core = Path(importlib.import_module("megatron.core").__file__ or "").parent
    found = [path for path in core.rglob("*.py") if not {"inference", "export", "resharding"} & set(path.parts)]
    found += (core.parent / "bridge").rglob("*.py")
    if CHECKOUT:
        checkout = Path(CHECKOUT)
        found += [*checkout.glob("*.py"), *(checkout / "megatron" / "training").rglob("*.py")]
    return tuple(found)


@lru_cache(maxsize=None)
def called() -> dict[str, set[str]]:
    """Last part of a name -> the full names under which these sources reach for it in other modules."""
    found: dict[str, set[str]] = {}
    for path in sources():
        modules: dict[str, str] = {}
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            match node:
                case ast.Import(names):
                    modules |= {alias.asname: alias.name for alias in names if alias.asname}
                case ast.ImportFrom(module, names, level):
                    origin = "." * level + (module or "")
                    origin = importlib.util.resolve_name(origin, package_of(path)) if level else origin
                    for alias in names:
                        found.setdefault(alias.name, set()).add(f"{origin}.{alias.name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                found.setdefault(node.attr, set()).add(f"{modules[node.value.id]}.{node.attr}")
    return found


def package_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[len(parts) - 1 - parts[::-1].index("megatron") : -1])


class NotInstalled(LookupError):
    """The name is in a module that wants a package which is not here."""


def resolve(name: str) -> Any:
    """The object of a dotted name, or LookupError."""
    parts = name.split(".")
    with placeholders.absent_packages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for end in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError as error:
                if not ".".join(parts[:end]).startswith(error.name or "?"):
                    raise NotInstalled(f"{name}: {error}") from error
                continue
            for part in parts[end:]:
                found = getattr(found, part, None)
            if found is None:
                raise LookupError(f"{name}: no such thing in {'.'.join(parts[:end])}")
            return found
    raise LookupError(name)


def others(name: str) -> Iterator[str]:
    """Names in the sources that end alike.

    Bridge's classes of settings are derived from those of Megatron Core and have the same names: what is Bridge's is
    compared with what is Bridge's.
    """
    bridge = "megatron.bridge."
    for other in sorted(called().get(name.rpartition(".")[2], ())):
        if NAME.fullmatch(other) and other.startswith(bridge) == name.startswith(bridge):
            yield other


# What a module of the checkout or of an optional package would have to be imported for.
NOT_HERE = ("megatron.core.extensions.kitchen", "megatron.core.datasets.helpers_cpp")


def meant() -> list[str]:
    """Our names, without modules: those of functions, classes and dtypes that the installed Bridge should have."""
    elsewhere = {
        name.path
        for names in ROLES.values()
        for at, name in enumerate(names)
        if (name.condition and not is_here(name)) or any(one.condition and is_here(one) for one in names[:at])
    }
    return [
        name
        for name in ours()
        if name not in elsewhere and not importable(name) and not name.startswith(("torch.cuda", *NOT_HERE))
    ]


def is_here(name: Name) -> bool:
    return holds(name.condition, Versions("", BRIDGE))


def importable(name: str) -> bool:
    try:
        with placeholders.absent_packages():
            return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_the_names_are_found() -> None:
    assert {
        "megatron.core.fusions.fused_bias_geglu.quick_gelu",
        "megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec",
        "megatron.bridge.models.gpt_provider.GPTModelProvider",
        "megatron.core.transformer.enums.AttnBackend",
        "torch.bfloat16",
    } <= set(meant())
    assert translated() <= set(ours())


def test_every_name_is_the_object_that_is_compared_with() -> None:
    different = []
    for name in meant():
        try:
            mine = resolve(name)
        except NotInstalled:
            continue
        for other in others(name):
            try:
                theirs = resolve(other)
            except LookupError:
                continue
            if type(theirs) is type(mine) and theirs is not mine:
                different.append(f"{name} is not {other}, which Megatron-LM's sources use")
    assert not different, "\n".join(different)


def test_a_twin_is_noticed() -> None:
    """The function that computes the same and is not compared with."""
    twin, right = "megatron.core.activations.quick_gelu", "megatron.core.fusions.fused_bias_geglu.quick_gelu"
    assert right in others(twin)
    assert resolve(twin) is not resolve(right)


def test_members_of_enums_have_their_values() -> None:
    schema = schemas.load(BRIDGE)
    for enum, members in schema.enums.items():
        if NAME.fullmatch(enum):
            assert {member.name: plain(member.value) for member in resolve(enum)} == members


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
