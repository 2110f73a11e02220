"""translate(): the five steps in order. Read this file first.

words -> Command -> Given -> MegatronArgs -> Translation
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from bridge_args.bridge import schema as bridge_schema
from bridge_args.findings import Finding
from bridge_args.mapping import table as tables
from bridge_args.mapping.apply import apply
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.resolve import resolve
from bridge_args.script.command import Command, read_command, world_size_of
from bridge_args.versions import Versions, nearest
from bridge_args.words import Word, as_words

MEGATRON_LM: Final = "0.16.1"
BRIDGE: Final = "0.3.1"  # the newest version our translations are checked against
PROGRAMS: Final = ("pretrain_gpt.py", "pretrain_mamba.py")


def translate(
    argv: Sequence[str | Word] | Command,
    world_size: int | None = None,
    megatron_lm: str = MEGATRON_LM,
    bridge: str | None = None,
    env: Mapping[str, str] | None = None,
    program: str | None = None,
    read: Callable[[str], str] | None = None,
) -> Translation:
    """Works out what a Megatron-LM command line means, and says it in Bridge's words.

    Args:
        argv: the words, with or without ``torchrun … pretrain_gpt.py`` in front.
        world_size: number of ranks; else from the launcher words, else ``WORLD_SIZE`` in ``env``, else
            TP x PP x CP, with a finding that says so.
        megatron_lm: a catalog version, or the path of a checkout, whose version is then used.
        bridge: a schema version; None for the installed Bridge, else the newest validated one.
        env: environment variables of the run; the process environment is never read. None: unknown.
        program: ``pretrain_gpt.py`` (the default) or ``pretrain_mamba.py``; else taken from the words.
        read: gives the text of a file that the command line names (``--data-args-path``), or raises OSError. None:
            no file is read, and such an argument is lost, with a finding.

    Returns:
        A Translation. What a user typed never raises: a command line that Megatron-LM would reject has ``errors``.

    Raises:
        TypeError, ValueError: for wrong use of this function: an unknown version or program, a world size below 1.
    """
    if world_size is not None and (not isinstance(world_size, int) or isinstance(world_size, bool) or world_size < 1):
        raise ValueError(f"world_size is a number of ranks, at least 1, not {world_size!r}")
    command = argv if isinstance(argv, Command) else read_command(as_words(argv))
    program = program or _program(command)
    if program not in PROGRAMS:
        raise ValueError(f"program is one of {', '.join(PROGRAMS)}, not {program!r}")
    versions = chosen_versions(megatron_lm, bridge)
    catalog = catalogs.load(versions.megatron)
    schema = bridge_schema.load(versions.bridge)
    table = tables.load(versions)
    environment = None if env is None and not command.environment else {**(env or {}), **command.environment}

    given = parse(command.argv, catalog)
    findings = [*command.findings, *given.findings]
    ranks = world_size or world_size_of(command) or _world_size_in(environment)
    if ranks is None:
        ranks, note = _smallest_world(given.values)
        findings.append(note)
    # What stands before a command, or in a script, is only a part of the environment.
    args = resolve(given, catalog, world_size=ranks, env=environment, whole_env=env is not None, program=program)
    done = apply(args, given, table, schema, catalog, program, read or _read_nothing)
    findings += [*args.findings, *done.findings]
    return Translation(
        assignments=tuple(done.assignments.values()),
        outcomes=done.outcomes,
        findings=tuple(findings),
        args=args,
        classes=done.classes,
        schema=schema,
        versions=versions,
        world_size=ranks,
        program=program,
        environment=environment or {},
        launcher=command.launcher_options,
        words=tuple(word.text for word in command.argv),
    )


def _read_nothing(name: str) -> str:
    raise OSError(f"{name} was not read")


def chosen_versions(megatron_lm: str | None = None, bridge: str | None = None) -> Versions:
    """The pair of versions meant by two texts; None for the defaults.

    Raises:
        ValueError: when there is no catalog or schema for one of them.
    """
    return Versions(megatron_version(megatron_lm or MEGATRON_LM), bridge_version(bridge))


def megatron_version(text: str) -> str:
    """A catalog version from a version or the path of a checkout.

    Raises:
        ValueError: when there is neither.
    """
    if os.sep in text or Path(text).is_dir():
        info = Path(text) / "megatron" / "core" / "package_info.py"
        if not info.is_file():
            raise ValueError(f"{text} is not a Megatron-LM checkout: it has no megatron/core/package_info.py")
        said = dict(
            (part.strip() for part in line.split("=", 1))  # MAJOR = 0
            for line in info.read_text(encoding="utf-8").splitlines()
            if "=" in line and line.split("=")[0].strip() in ("MAJOR", "MINOR", "PATCH")
        )
        text = ".".join(said.get(part, "0") for part in ("MAJOR", "MINOR", "PATCH"))
        return nearest(text, catalogs.versions())
    if text in catalogs.versions():
        return text
    if text in {version.rpartition(".")[0] for version in catalogs.versions()}:  # 0.16 for 0.16.1
        return nearest(text, catalogs.versions())
    raise ValueError(f"no catalog of Megatron-LM {text}; there are {', '.join(catalogs.versions())}")


def bridge_version(text: str | None) -> str:
    """A schema version from a version, or from what is installed.

    Raises:
        ValueError: when there is no schema of that version's series.
    """
    known = bridge_schema.versions()
    if text is None:
        installed = _installed_bridge(tuple(sys.path))
        if installed is None:
            return BRIDGE
        text = installed
    if text in known:
        return text
    series = ".".join(text.split(".")[:2])
    same = [version for version in known if ".".join(version.split(".")[:2]) == series]
    if not same:
        raise ValueError(f"no schema of Megatron Bridge {text}; there are {', '.join(known)}")
    return nearest(text, tuple(same))


@cache
def _installed_bridge(folders: tuple[str, ...]) -> str | None:
    """The version of an installed megatron-bridge, from the name of its metadata folder; nothing is imported."""
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("megatron_bridge-") and name.endswith(".dist-info"):
                return name[len("megatron_bridge-") : -len(".dist-info")]
    return None


def _program(command: Command) -> str:
    name = os.path.basename(command.program) if command.program else PROGRAMS[0]
    return name if name in PROGRAMS else PROGRAMS[0]


def _world_size_in(env: Mapping[str, str] | None) -> int | None:
    text = (env or {}).get("WORLD_SIZE", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def _smallest_world(values: Mapping[str, object]) -> tuple[int, Finding]:
    sizes = []
    for name in ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"):
        value = values.get(name, 1)
        sizes.append(value if isinstance(value, int) and value > 0 else 1)
    ranks = sizes[0] * sizes[1] * sizes[2]
    message = (
        f"the number of GPUs is not known; {ranks} is assumed "
        f"(tensor {sizes[0]} x pipeline {sizes[1]} x context {sizes[2]})"
    )
    return ranks, Finding("assumed-world-size", message, "say it with --world-size N, or give the torchrun words")


__all__ = ["BRIDGE", "MEGATRON_LM", "PROGRAMS", "bridge_version", "chosen_versions", "megatron_version", "translate"]
