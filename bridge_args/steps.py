"""translate(): the five steps in order. Read this file first.

words -> Command -> Given -> MegatronArgs -> Translation
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, cast

from bridge_args.bridge import schema as bridge_schema
from bridge_args.findings import Finding
from bridge_args.mapping import table as tables
from bridge_args.mapping.apply import apply
from bridge_args.mapping.hiding import hiding
from bridge_args.mapping.translation import Translation
from bridge_args.mapping.unread import told
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import programs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given, parse
from bridge_args.megatron_lm.resolvers import choose as resolvers
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.script.command import Command, read_command, world_size_of
from bridge_args.values import referring
from bridge_args.versions import Versions, nearest
from bridge_args.words import Word

MEGATRON_LM: Final = "0.16.1"
BRIDGE: Final = "0.3.1"  # the newest version our translations are checked against
PROGRAMS: Final = programs.TRANSLATED


def translate(
    argv: Sequence[str | Word] | Command,
    world_size: int | None = None,
    megatron_lm: str = MEGATRON_LM,
    bridge: str | None = None,
    env: Mapping[str, str] | None = None,
    program: str | None = None,
    read: Callable[[str], str] | None = None,
    mappings: str | None = None,
) -> Translation:
    """Works out what a Megatron-LM command line means, and says it in Bridge's words.

    Args:
        argv: the words, with or without ``torchrun … pretrain_gpt.py`` in front.
        world_size: number of ranks; else from the launcher words, else ``WORLD_SIZE`` in ``env``, else
            TP x PP x CP, with a finding that says so.
        megatron_lm: a catalog version, or the path of a checkout: then its own parser and ``validate_args`` are run,
            in a process of their own, and the rows are those of the nearest version.
        bridge: a schema version; None for the installed Bridge, else the newest validated one.
        env: environment variables of the run; the process environment is never read. None: unknown.
        program: ``pretrain_gpt.py`` (the default) or ``pretrain_mamba.py``; else taken from the words.
        read: gives the text of a file that the command line names (``--data-args-path``), or raises OSError. None:
            no file is read, and such an argument is lost, with a finding.
        mappings: path of a table with rows of the user's own, for the arguments of a fork.

    Returns:
        A Translation. What a user typed never raises: a command line that Megatron-LM would reject has ``errors``.

    Raises:
        TypeError, ValueError: for wrong use of this function: an unknown version or program, a world size below 1, a
            checkout that cannot be asked, a table that is not right.
    """
    if world_size is not None and (not isinstance(world_size, int) or isinstance(world_size, bool) or world_size < 1):
        raise ValueError(f"world_size is a number of ranks, at least 1, not {world_size!r}")
    command = argv if isinstance(argv, Command) else read_command(cast("Sequence[str | Word]", argv))
    about = _about_program(command, program)
    program = program or programs.meaning_of(command.program or PROGRAMS[0], command.module).taken_for
    if program not in PROGRAMS:
        raise ValueError(f"program is one of {', '.join(PROGRAMS)}, not {program!r}")
    versions = chosen_versions(megatron_lm, bridge)
    checkout = megatron_lm if resolvers.is_checkout(megatron_lm) else None
    catalog = resolvers.catalog_of(checkout, program) if checkout else catalogs.load(versions.megatron)
    environment = None if env is None and not command.environment else {**(env or {}), **command.environment}

    unused = {row.argument for row in tables.load(versions).rows.values() if row.fate in ("launcher", "not_needed")}
    given = parse(command.argv, catalog, unused=unused)
    findings = [*about, *command.findings]
    ranks = world_size or world_size_of(command) or _world_size_in(environment)
    if ranks is None:
        ranks, note = _smallest_world(given.values)
        findings.append(note)
    # What stands before a command, or in a script, is only a part of the environment.
    given, args = resolvers.effective(
        given, catalog, checkout, world_size=ranks, env=environment, whole_env=env is not None, program=program
    )
    findings += [*given.findings, *args.findings, *_homes(given)]
    return _mapped(
        given, args, catalog, versions, findings, program, environment or {}, command.launcher_options, mappings, read
    )


def _homes(given: Given) -> Iterator[Finding]:
    """A ``~`` that the shell has left: no program puts the home in its place."""
    for dest, value in given.values.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and re.match(r"~(?:/|$)", text):
                message = (
                    f"{text} is a path in a folder named ~: no shell, Megatron-LM or Bridge makes the home of it here"
                )
                remedy = f"write $HOME{text[1:]}, outside single quotes"
                yield Finding("unresolved-variable", message, remedy, (dest,), given.place(dest), given.excerpt(dest))


def translate_saved(
    values: Mapping[str, object],
    megatron_lm: str | None = None,
    bridge: str | None = None,
    mappings: str | None = None,
    read: Callable[[str], str] | None = None,
) -> Translation:
    """The arguments a run has saved in its checkpoint, in Bridge's words.

    Args:
        values: name to effective value, as ``checkpoint.saved_args.read`` gives them.
        megatron_lm: a catalog version or a checkout; None for the version whose arguments are most like the names,
            which is told as a finding.
        bridge, mappings, read: as for ``translate``.

    Returns:
        A Translation whose ``words`` are a command line that leads to these values, as far as there is one.

    Raises:
        TypeError, ValueError: as for ``translate``.
    """
    try:
        return _translated_saved(values, megatron_lm, bridge, mappings, read)
    except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
        # Values that no parser and no validate_args has made; reading goes on in a hundred places that trust them.
        raise ValueError(f"the saved arguments are not those of a run of Megatron-LM: {error}") from error


def _translated_saved(
    values: Mapping[str, object],
    megatron_lm: str | None,
    bridge: str | None,
    mappings: str | None,
    read: Callable[[str], str] | None,
) -> Translation:
    from bridge_args.megatron_lm.resolvers import saved
    from bridge_args.pairs import detect

    findings = []
    if megatron_lm is None:
        megatron_lm, why = detect.version_with(values)
        findings.append(Finding("assumed-version", f"Megatron-LM {megatron_lm} is assumed: {why}"))
    versions = chosen_versions(megatron_lm, bridge)
    program = PROGRAMS[1] if saved.is_hybrid(values) else PROGRAMS[0]
    checkout = megatron_lm if resolvers.is_checkout(megatron_lm) else None
    catalog = resolvers.catalog_of(checkout, program) if checkout else catalogs.load(versions.megatron)
    ranks = values.get("world_size")
    ranks = ranks if isinstance(ranks, int) and ranks > 0 else _smallest_world(values)[0]
    if wrong := saved.wrong_values(values, catalog):
        raise ValueError(f"the saved arguments are not those of a run of Megatron-LM: {'; '.join(wrong[:3])}")
    given, args = saved.resolve_saved(values, catalog, world_size=ranks, program=program)
    findings += args.findings
    return _mapped(given, args, catalog, versions, findings, program, {}, {}, mappings, read, typed=False)


def _mapped(
    given: Given,
    args: MegatronArgs,
    catalog: Catalog,
    versions: Versions,
    findings: list[Finding],
    program: str,
    environment: Mapping[str, str],
    launcher: Mapping[str, str | int],
    mappings: str | None,
    read: Callable[[str], str] | None,
    *,
    typed: bool = True,
) -> Translation:
    """The last of the steps: rows are applied to what somebody has ``typed``, or a run has saved."""
    schema = bridge_schema.load(versions.bridge)
    table = tables.load(versions)
    if mappings is not None:
        from bridge_args.mapping import own

        table = own.with_own_rows(table, mappings, versions, catalog, schema)
    files: dict[str, int] = {}

    def reading(name: str) -> str:
        text = (read or _read_nothing)(name)
        files[name] = len(text)
        return text

    done = apply(args, given, table, schema, catalog, program, reading)
    ignored, unread = told(args, given, table.rows, catalog, program) if typed else ((), frozenset())
    mapped = (finding for finding in done.findings if not finding.changes or not unread.issuperset(finding.arguments))
    findings = [*findings, *mapped, *ignored, *map(_was_read, files.items())]
    # What a fork has, and our tables do not.
    if any(argument.dest not in done.outcomes and not argument.requires for argument in catalog.arguments):
        from bridge_args.mapping import own

        for outcome, finding in own.without_row(args, given, table, catalog):
            done.outcomes[outcome.argument] = outcome
            findings += [finding] if finding else []
    needed = [word for index, word in enumerate(given.words) if index not in given.open]
    unknown = tuple(dict.fromkeys(name for word in needed for name in word.unresolved if name.isidentifier()))
    made = Translation(
        assignments=tuple(
            assignment._replace(value=referring(assignment.value, unknown)) if unknown else assignment
            for assignment in done.assignments.values()
        ),
        outcomes=done.outcomes,
        findings=tuple(findings),
        args=args,
        classes=done.classes,
        schema=schema,
        versions=versions,
        world_size=args.world_size,
        program=program,
        environment=environment,
        launcher=launcher,
        words=tuple(word.text for word in given.words),
        catalog=catalog,
        places=tuple(word.place for word in given.words),
        unresolved=unknown,
    )
    return hiding(made)


def _was_read(file: tuple[str, int]) -> Finding:
    name, length = file
    return Finding("file-read", f"{name} was read: {length} characters; the translation holds what stood in it")


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
    if resolvers.is_checkout(text):
        return nearest(resolvers.version_of(text), catalogs.versions())
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


def _about_program(command: Command, wanted: str | None) -> tuple[Finding, ...]:
    """What is to be said of the program in the words; what it is taken for need not be said to who says it."""
    finding = programs.finding_of(command.program, command.module)
    if finding is None or (wanted is not None and finding.level != "error"):
        return ()
    return (finding._replace(place=command.place),)


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
