"""A YAML file -> the command it stands for. Read this first, then ``model_args.py`` and ``config_file.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Final

from bridge_args.findings import Finding
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.derive.parallelism import fewest_ranks
from bridge_args.megatron_lm.programs import GPT, MAMBA, TRANSLATED
from bridge_args.pairs.pairs import megatron_version, usual_megatron_lm
from bridge_args.records import Record
from bridge_args.script.command import Command
from bridge_args.source.yaml.config_file import SECTIONS, command_of
from bridge_args.source.yaml.model_args import Words, filled_in, parts_of, words_of
from bridge_args.source.yaml.nodes import Mapping, Node, YamlProblem, entries, item, read, text_of
from bridge_args.source.yaml.recipes import Recipe, recipes_for
from bridge_args.wording import listed
from bridge_args.words import Place, Word

# What the functional tests' own programs read, and not the training.
_FOR_THE_RUNNER: Final = frozenset(
    "SKIP_PYTEST N_REPEAT ENABLE_LIGHTWEIGHT_MODE NON_DETERMINSTIC_RESULTS GPUS_PER_NODE NUM_NODES".split()
)
_FIRST_RUN: Final = {"REPEAT": "1", "RUN_NUMBER": "1"}  # what run_ci_test.sh sets before the first run
_GPUS_PER_NODE: Final = 8  # _run_training.sh, where nothing else says it
_MAX_NODES: Final = 1024

# What runs the tests of a folder of test_cases where no recipe says so (spec.script of tests/test_utils/recipes).
_PROGRAMS: Final = {
    "gpt": GPT,
    "moe": GPT,
    "mixtral": GPT,
    "hybrid": MAMBA,
    "bert": "pretrain_bert.py",
    "t5": "pretrain_t5.py",
    "multimodal-llava": "pretrain_vlm.py",
    "mimo": "pretrain_mimo.py",
}


class Run(Record):
    """A command and what its file says around it.

    Attributes:
        environment: variables the file sets; None when it is of a kind that sets none.
    """

    command: Command
    environment: Table[str, str] | None
    findings: tuple[Finding, ...]


def read_run(
    text: str,
    name: str,
    variables: Table[str, str],
    number: int | None = None,
    folder: Path | None = None,
    megatron_lm: str | None = None,
) -> Run:
    """The run that a YAML file describes.

    Args:
        name: the file's name, for places.
        variables: values for ``$NAME`` in the file.
        number: which of several ``MODEL_ARGS``, ``MODEL_ARGS_2``, ... is meant, counted from 1.
        folder: where the file lies; recipes of the same checkout may be read.
        megatron_lm: the version or checkout that is asked for; None: the one assumed everywhere.

    Raises:
        YamlProblem: when it cannot be read, is none of the kinds known here, or holds several runs and no ``number``.
    """
    root = read(text, name) if any(key in text for key in ("MODEL_ARGS", *SECTIONS)) else None
    if isinstance(root, Mapping):
        if any(_is_model_args(key.text) for key, _ in root.pairs):
            return _from_model_args(text, name, variables, number, folder)
        if any(isinstance(item(root, section), Mapping) for section in SECTIONS):
            if number not in (None, 1):
                raise YamlProblem(f"there is no command {number}: {name} holds one run")
            made = command_of(root, catalogs.load(megatron_version(megatron_lm or usual_megatron_lm())))
            return Run(Command(argv=made.words), None, made.findings)
    raise YamlProblem(
        f"{name} is none of the YAML files read here: it has neither MODEL_ARGS (functional tests, MoE model zoo) nor "
        f"the sections {' and '.join(SECTIONS)} (--yaml-cfg)",
        commands=0,
    )


def _is_model_args(key: str) -> bool:
    return re.fullmatch(r"MODEL_ARGS(_\d+)?", key) is not None


# ---------------------------------------------------------------- MODEL_ARGS


def _from_model_args(text: str, name: str, variables: Table[str, str], number: int | None, folder: Path | None) -> Run:
    as_tests = re.search(r"^TEST_TYPE:", text, re.MULTILINE) is not None
    known = {**_FIRST_RUN, **variables} if as_tests else dict(variables)
    root = read(filled_in(text, known)[0], name)  # both runners begin with envsubst
    assert isinstance(root, Mapping)
    runs = [(key, value) for key, value in root.pairs if _is_model_args(key.text)]
    if number is not None and not 1 <= number <= len(runs):
        held = f"{len(runs)} runs" if len(runs) > 1 else "one run"
        raise YamlProblem(f"there is no command {number}: {name} holds {held}")
    if number is None and len(runs) > 1:
        lines = [f"{name} holds {len(runs)} runs; choose one with --command N:"]
        lines += [f"  {at}  line {key.place.line}: {key.text}" for at, (key, _) in enumerate(runs, start=1)]
        raise YamlProblem("\n".join(lines), len(runs))
    key, arguments = runs[(number or 1) - 1]
    if not isinstance(arguments, Mapping) or not arguments.pairs:
        raise YamlProblem(f"{key.place}: {key.text} holds no flags", 0)

    mode = text_of(item(root, "MODE")) or "pretraining"
    if mode != "pretraining":
        raise YamlProblem(f"{name} is a run of MODE {mode}, not of training; there is nothing to translate", 0)
    environment = _environment(item(root, "ENV_VARS"))
    made = words_of(arguments, {**environment, **known}, as_tests=as_tests)
    findings = [*made.findings]
    findings += _scripts_not_run(root)

    file = (folder or Path()) / Path(name).name
    recipes = recipes_for(file) if as_tests and folder is not None else []
    program = _program(made.words, recipes, file, name)
    kept = {variable: value for variable, value in environment.items() if variable not in _FOR_THE_RUNNER}
    if not as_tests:
        return Run(Command(program=program, argv=made.words), kept, tuple(findings))
    said = {**environment, **_environment(item(_mapping(item(root, "MODEL_ENV_VARS")), key.text)), **known}
    gpus, nodes, told = _machines(said, recipes, made.words, key.place)
    launcher = "ft_launcher" if text_of(item(root, "LAUNCHER")) == "ft_launcher" else "torchrun"
    command = Command(launcher, {"nproc_per_node": gpus, "nnodes": nodes}, program=program, argv=made.words)
    return Run(command, kept, (*findings, *told))


def _environment(node: Node | None) -> dict[str, str]:
    """``ENV_VARS`` as the processes see them."""
    if not isinstance(node, Mapping):
        return {}
    return {key.text: " ".join(part.text for part in parts_of(value)) for key, value in entries(node)}


def _mapping(node: Node | None) -> Mapping:
    return node if isinstance(node, Mapping) else Mapping([], Place("", 1))


def _scripts_not_run(root: Mapping) -> list[Finding]:
    """``BEFORE_SCRIPT`` is shell that runs in front of the training; it may change anything."""
    return [
        Finding("not-read", f"{key.text} is not run: {' '.join(value.text.split())[:80]}", place=key.place)
        for key, value in root.pairs
        if key.text == "BEFORE_SCRIPT" and text_of(value)
    ]


def _program(words: tuple[Word, ...], recipes: list[Recipe], file: Path, name: str) -> str:
    """The program that runs the file.

    Raises:
        YamlProblem: when it is one that trains other models.
    """
    named = next((recipe.program for recipe in recipes if recipe.program), None)
    if named is None and file.parent.parent.parent.name == "test_cases":
        named = _PROGRAMS.get(file.parent.parent.name)
    if named is None:
        hybrid = {"--hybrid-override-pattern", "--hybrid-layer-pattern", "--is-hybrid-model"}
        named = MAMBA if any(word.text in hybrid for word in words) else GPT
    if named.rsplit("/", 1)[-1] not in TRANSLATED:
        raise YamlProblem(f"{name} is for {named}; only {listed(TRANSLATED)} are translated", 0)
    return named


# ---------------------------------------------------------------- how many GPUs


def _machines(
    said: Table[str, str], recipes: list[Recipe], words: tuple[Word, ...], place: Place
) -> tuple[int, int, list[Finding]]:
    """GPUs of a node, nodes, and what was assumed."""
    gpus, nodes = _number(said.get("GPUS_PER_NODE")), _number(said.get("NUM_NODES"))
    sizes = [(recipe.nodes or 1, recipe.gpus or _GPUS_PER_NODE, recipe.file) for recipe in recipes]
    findings = []
    if sizes and gpus is None and nodes is None:
        here = [size for size in sizes if "h100" in size[2]] or sizes  # golden values of most tests are of H100
        nodes, gpus, file = here[0]
        if len({(a, b) for a, b, _ in here}) > 1:
            message = f"the recipes differ; {nodes * gpus} GPUs are taken from {file}"
            findings.append(Finding("assumed-world-size", message, "set it with --world-size N", place=place))
        return gpus, nodes, findings
    if nodes is None:
        each = gpus or _GPUS_PER_NODE
        nodes = _least_nodes(words, each) if gpus is None else 1
        if gpus is None:
            message = (
                f"the number of GPUs is not given; {each * nodes} are assumed: {each} on each node, as the tests' "
                f"runner does, and the fewest nodes that the parallel sizes allow"
            )
            findings.append(Finding("assumed-world-size", message, "set it with --world-size N", place=place))
    return gpus or _GPUS_PER_NODE, nodes, findings


def _least_nodes(words: tuple[Word, ...], gpus: int) -> int:
    tensor, pipeline, context, expert, expert_tensor = (
        _size_in(words, f"--{name}-parallel-size")
        for name in ("tensor-model", "pipeline-model", "context", "expert-model", "expert-tensor")
    )
    ranks = fewest_ranks(tensor or 1, pipeline or 1, context or 1, expert or 1, expert_tensor or tensor or 1)
    fits = (n for n in range(1, _MAX_NODES) if gpus * n % ranks == 0)
    return next(fits, 1)


def _size_in(words: tuple[Word, ...], flag: str) -> int | None:
    texts = [word.text for word in words]
    found = [_number(after) for text, after in zip(texts, texts[1:], strict=False) if text == flag]
    return found[-1] if found else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) > 0 else None


__all__ = ["Run", "Words", "read_run"]
