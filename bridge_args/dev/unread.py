"""``python -m bridge_args.dev unread``: which settings of the installed Bridge no code of Bridge or Core reads.

Found in the syntax trees (``reads.py``). With ``--trace SOURCE`` a shrunk run is rehearsed as well, and a setting that
was read while it ran is none of them, whatever the trees seem to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge import installed
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.dev import source_index
from bridge_args.dev.reads import UNKNOWN, Read, Reader
from bridge_args.dev.source_index import Index, Module
from bridge_args.records import Record
from bridge_args.wording import counted

# Folders whose code is no reader: recipes only set settings.
_ONLY_SET: Final = frozenset(("recipes", "perf_recipes", "tests", "examples"))
# Megatron-LM's own program, which Megatron Core brings along: of it only what Bridge or Core use.
_PROGRAM: Final = "megatron.training"
# Functions that handle all attributes of a configuration alike and read none; looked at in Bridge 0.3.1 to 0.6.2.
_NO_READERS: Final = frozenset(
    (
        # write it down, or make another of it, which is read in its turn
        "_create_config_from_provider", "megatron_to_hf_config", "_safe_asdict", "_as_dict", "_build_dense_vl_provider",
        "_enable_safe_hybridep_dispatch", "_transformer_config_from_args",
        # copy it onto itself, or check it
        "megatron.bridge.models.distillation_provider __post_init__", "check_config_overrides_consistency",
        # look up names that their callers or subclasses write out, which count
        "get_attr_wrapped_model", "condition", "_config_value", "_positive_int_attr", "_optional_positive_int_attr",
        "megatron.core.datasets.megatron_dataset __init__",
        # are given other objects: modules, optimizers, tokenizers
        "megatron.core.transformer.cuda_graphs __init__", "memory_efficient_fp32_optimizer_state_loading",
        "add_special_tokens", "setup_process_groups_for_ddp",
    )
)  # fmt: skip
# Of several objects in such a function, the one whose settings it passes on.
_OF_ONE: Final = {"update_config_with_precision_overrides": "MixedPrecisionConfig"}


class Unread(Record):
    """What was found of one pair.

    Attributes:
        version: of Bridge.
        classes: class to its settings that nothing reads.
        settings: all settings of these classes, by class.
        whole: places that pass on a configuration of unknown class as a whole; none is taken for a reader.
        traced: settings that were read in the run that was traced, ``class name``; None without one.
        put_right: of these, the ones that the trees seemed not to have.
    """

    version: str
    classes: dict[str, list[str]]
    settings: dict[str, tuple[str, ...]]
    whole: tuple[str, ...]
    traced: frozenset[str] | None
    put_right: tuple[str, ...]


def from_installed(trace: str | None = None) -> Unread:
    """What the installed packages do not read.

    Args:
        trace: a source whose shrunk run is rehearsed on the CPU; None: nothing is run.

    Raises:
        ValueError: Bridge is not installed, there is no schema of it, or its code is of a newer Python.
    """
    version = installed.version()
    if version is None:
        raise ValueError("Megatron Bridge is not installed")
    schema = schemas.load(version)
    reader = read_packages(schema)
    known = settled(reader)
    seen: set[tuple[str, str]] = set()
    put_right = []
    if trace is not None:
        from bridge_args.dev.traced import reads_of_a_run

        for cls, name, place in reads_of_a_run(trace, schema):
            if place in reader.found.whole:
                continue
            seen.add((cls, name))
            if name in reader.settings.get(cls, ()) and name not in known[cls]:
                put_right.append(f"{cls} {name}: {place}")
                known[cls].add(name)
    classes = {cls: [name for name in names if name not in known[cls]] for cls, names in _settings_of(schema).items()}
    return Unread(
        version,
        {cls: names for cls, names in sorted(classes.items()) if names},
        _settings_of(schema),
        tuple(sorted(place for place, classes in reader.found.whole.items() if not classes)),
        frozenset(f"{cls} {name}" for cls, name in seen) if trace is not None else None,
        tuple(put_right),
    )


def content(found: Unread, schema: Schema, trace: str | None) -> dict[str, Any]:
    """What the file of a pair holds."""
    command = f"python -m bridge_args.dev unread{f' --trace {trace}' if trace else ''}"
    return {"version": schema.version, "core": schema.core, "made_with": command, "unread": found.classes}


def told(found: Unread) -> Iterator[str]:
    """What the maintainer is told: the figures, what the trace put right, and what could not be told from the trees."""
    names = {name for names in found.classes.values() for name in names}
    yield f"Bridge {found.version}: {counted(len(names), 'setting')} that nothing reads"
    if found.traced is not None:
        yield f"read in the traced run: {counted(len(found.traced), 'setting')}"
    yield from (f"not seen in the trees, but read in the traced run: {line}" for line in found.put_right)
    yield f"{counted(len(found.whole), 'function')} handle all attributes of an object alike; none counts as a reader:"
    yield from (f"  {place}" for place in found.whole)


def as_text(data: dict[str, Any]) -> str:
    """One line a class: small, and what changes can be seen."""
    head = "".join(f' "{key}": {json.dumps(data[key])},\n' for key in data if key != "unread")
    lines = ",\n".join(f"  {json.dumps(cls)}: {json.dumps(names)}" for cls, names in data["unread"].items())
    return f'{{\n{head} "unread": {{\n{lines}\n }}\n}}\n'


def read_packages(schema: Schema) -> Reader:
    """Reads all code of Bridge and Core, and what they use of Megatron-LM's program."""
    modules = [module for name in ("bridge", "core", "training") for module in _modules(f"megatron.{name}")]
    index = Index(modules)
    sections = {section.name: section.classes for section in schema.sections.values()}
    reader = Reader(index, sections, _settings_of(schema))
    readers = [module for module in modules if not _ONLY_SET & set(module.name.split("."))]
    ours = [module for module in readers if not _is_of_program(module.name)]
    named = (name for module in ours for name in index.names_in(module.tree, module))
    used = index.used(name for name in named if _is_of_program(name))
    for module in ours:
        reader.module(module)
    for module in readers:
        if _is_of_program(module.name):
            reader.module(module, {name.rpartition(".")[2] for name in used if name.rpartition(".")[0] == module.name})
    reader.finish()
    return reader


def settled(reader: Reader) -> dict[str, set[str]]:
    """Class to its settings that are read; a setting that only sets another one is read if that one is."""
    known: dict[str, set[str]] = {cls: set() for cls in reader.settings}
    for read in reader.found.read:
        for cls, name in _meant(read, reader):
            known[cls].add(name)
    for cls in _passed_on(reader.found.whole):
        known[cls] |= set(reader.settings[cls])
    todo = set(reader.found.follows)
    while True:
        now = {pair for pair in todo if any(name in known[cls] for cls, name in _meant(pair[1], reader))}
        if not now:
            return known
        todo -= now
        for read, _ in now:
            for cls, name in _meant(read, reader):
                known[cls].add(name)


def _passed_on(whole: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """The classes all whose settings somebody may read."""
    for place, classes in whole.items():
        function = place.rpartition(" ")[2]
        if not {place, function} & _NO_READERS:
            yield from (cls for cls in classes if cls.endswith(_OF_ONE.get(function, "")))


def _meant(read: Read, reader: Reader) -> Iterator[tuple[str, str]]:
    """The settings that a read may be of."""
    types, name = read
    for owner in types:
        for cls in reader.settings if owner == UNKNOWN else reader.related(owner):
            if name in reader.settings[cls]:
                yield from ((other, name) for other in reader.declaring(cls, name) if name in reader.settings[other])


def _settings_of(schema: Schema) -> dict[str, tuple[str, ...]]:
    """The settings of every class that a configuration may give a value."""
    return {
        cls: tuple(name for name, one in fields.items() if one.init and not name.startswith("_"))
        for cls, fields in schema.classes.items()
    }


def _is_of_program(name: str) -> bool:
    return name == _PROGRAM or name.startswith(f"{_PROGRAM}.")


def _modules(package: str) -> Iterator[Module]:
    parts = package.split(".")
    found = PathFinder.find_spec(parts[0])
    for part in parts[1:]:
        if found is None or found.submodule_search_locations is None:
            return
        found = PathFinder.find_spec(part, list(found.submodule_search_locations))
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        yield from source_index.read(Path(folder), package)
