"""From a source to its translation, the one way there is. Read this file first.

Source -> Run -> resolver -> rows -> Translation
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bridge_args.bridge import schema as bridge_schema
from bridge_args.errors import UserError, WrongValue
from bridge_args.files import finder, read_nothing, reader
from bridge_args.findings import Finding
from bridge_args.mapping import one_iteration
from bridge_args.mapping import table as tables
from bridge_args.mapping.apply import apply
from bridge_args.mapping.hiding import hiding
from bridge_args.mapping.translation import Translation
from bridge_args.mapping.unread import told
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import programs
from bridge_args.megatron_lm.derive.parallelism import fewest_ranks
from bridge_args.megatron_lm.parse import Given, parse
from bridge_args.megatron_lm.resolvers import built_in, of_checkout
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs, Resolver
from bridge_args.megatron_lm.run import Read, Run
from bridge_args.pairs import pairs
from bridge_args.pairs.pairs import chosen_versions, usual_megatron_lm
from bridge_args.records import Record
from bridge_args.script.command import Command, read_command, world_size_of
from bridge_args.secrets import found_in_variables
from bridge_args.source.checkpoint_args import Find
from bridge_args.source.source import Source, secrets_of
from bridge_args.values import filled, referring
from bridge_args.versions import status_of
from bridge_args.words import Word

if TYPE_CHECKING:
    from bridge_args.mapping.settings import Statements

PROGRAMS: Final = programs.TRANSLATED


class Asked(Record):
    """What the user says beside the source.

    Attributes:
        megatron_lm: a catalog version, or the path of a checkout: then its own parser and ``validate_args`` are run,
            in a process of their own, and the rows are those of the nearest version. None: what the source speaks of.
        bridge: a schema version; None for the installed Bridge, else the newest validated one.
        world_size: number of ranks; else from the launcher words, else ``WORLD_SIZE`` in ``env``, else
            TP x PP x CP, with a finding that says so.
        mappings: path of a table with rows of the user's own, for the arguments of a fork.
        program: ``pretrain_gpt.py`` (the default), ``pretrain_mamba.py`` or ``pretrain_hybrid.py`` (of
            these two, the one that the version has); else taken from the words.
        env: environment variables of the run, all of them; the process environment is never read. None: unknown, but
            for those that the source sets.
        read: gives the text of a file that the command line names (``--data-args-path``), or raises OSError. None:
            it is read beside the source.
        variables: values for what a script or a YAML file uses and does not set.
        within: folders outside of which nothing is read that a source names; none: anywhere.
        find: where a folder lies that the command line names (``--load``), or None; looked for as ``read`` reads files.
        find_is_of_run: what ``find`` does not find, the run would not find either.
    """

    megatron_lm: str | None = None
    bridge: str | None = None
    world_size: int | None = None
    mappings: str | None = None
    program: str | None = None
    env: Mapping[str, str] | None = None
    read: Read | None = None
    variables: Mapping[str, str] = MappingProxyType({})
    within: tuple[str, ...] = ()
    find: Find | None = None
    find_is_of_run: bool = False


_NOTHING: Final = Asked()


def translate(
    argv: Sequence[str | Word] | Command,
    world_size: int | None = None,
    megatron_lm: str | None = None,
    bridge: str | None = None,
    env: Mapping[str, str] | None = None,
    program: str | None = None,
    read: Read | None = None,
    mappings: str | None = None,
    find: Find | None = None,
) -> Translation:
    """Works out what a Megatron-LM command line means, and says it in Bridge's words.

    Args:
        argv: the words, with or without ``torchrun … pretrain_gpt.py`` in front.
        world_size, megatron_lm, bridge, env, program, mappings: see ``Asked``.
        read: see ``Asked``; None: no file is read, and an argument that names one is lost, with a finding.
        find: gives where a folder lies whose checkpoint ``--use-checkpoint-args`` reads, or None where it does not
            exist; it is the run's own machine that is asked. None: none is read, likewise.

    Returns:
        A Translation. What a user typed never raises: a command line that Megatron-LM would reject has ``errors``.

    Raises:
        TypeError, ValueError: for wrong use of this function: an unknown version or program, a world size below 1, a
            checkout that cannot be asked, a table that is not right.
    """
    if world_size is not None and (not isinstance(world_size, int) or isinstance(world_size, bool) or world_size < 1):
        raise WrongValue(f"world_size is a number of ranks, at least 1, not {world_size!r}")
    command = argv if isinstance(argv, Command) else read_command(argv)
    version = megatron_lm or usual_megatron_lm(bridge)
    asked = Asked(version, bridge, world_size, mappings, program, env, read or read_nothing)
    asked = asked._replace(find=find or (lambda folder: None), find_is_of_run=find is not None)
    return translated(Source(command, None, ()), asked)


def translate_saved(
    values: Mapping[str, object],
    megatron_lm: str | None = None,
    bridge: str | None = None,
    mappings: str | None = None,
    read: Read | None = None,
) -> Translation:
    """The arguments a run has saved in its checkpoint, in Bridge's words.

    Args:
        values: name to effective value, as ``checkpoint.saved_args.read`` gives them.
        megatron_lm, bridge, mappings, read: as for ``translate``; without a version the one whose arguments are most
            like the names, which is told as a finding.

    Returns:
        A Translation whose ``words`` are a command line that leads to these values, as far as there is one.

    Raises:
        TypeError, ValueError: as for ``translate``.
    """
    asked = Asked(megatron_lm, bridge, mappings=mappings, read=read or read_nothing)
    return translated(Source.of_values(values), asked)


def translated(source: Source, asked: Asked = _NOTHING) -> Translation:
    """The translation of a source, with what could not be read of it.

    Raises:
        ValueError: an unknown version or program, a checkout that cannot be asked, a table that is not right, saved
            values that no run of Megatron-LM has saved.
    """
    if source.stated is not None:
        return _of_statements(source, source.stated, asked)
    if source.values is None:
        return _translated(source, asked)
    try:
        return _translated(source, asked)
    except UserError:
        raise
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        # Values that no parser and no validate_args has made; reading goes on in a hundred places that trust them.
        raise WrongValue(f"the saved arguments are not those of a run of Megatron-LM: {error}") from error


def _translated(source: Source, asked: Asked) -> Translation:
    run, given, findings = run_of(source, asked)
    given, args = _resolver(source, run)(given, run)
    findings += args.findings if source.values is not None else (*given.findings, *args.findings, *_homes(given))
    findings += _without_a_monitor(source, run, given, args)
    findings += one_iteration.findings(args, given, run.versions, run.read or read_nothing)
    made = _mapped(source, run, given, args, findings)
    return hiding(made, (*secrets_of(source), *found_in_variables(asked.variables)))


def _of_statements(source: Source, stated: Statements, asked: Asked) -> Translation:
    """A file that states settings has no parser and nothing that is derived: its lines go through its own rows."""
    from bridge_args.mapping import settings

    if asked.mappings is not None:
        raise UserError(f"--mappings has rows for arguments of Megatron-LM, and the source is {stated.made_from}")
    bridge = chosen_versions(None, asked.bridge or stated.bridge).bridge
    said = stated.said_to(bridge)
    lines = (line._replace(value=filled(line.value, asked.variables)) for line in said.lines)
    ranks = asked.world_size or said.world_size
    made = settings.translated(
        lines,
        made_from=stated.made_from,
        table=said.table,
        bridge=bridge,
        world_size=ranks or 1,
        defaults=said.defaults,
        findings=(*source.findings, *pairs.about_bridge(asked.bridge or stated.bridge, bridge), *said.findings),
        environment={**(asked.env or {}), **said.environment},
        read=asked.read or _beside(source, asked.within),
        complete=said.complete,
        derived=said.derived,
        schema=said.schema,
        defaults_of=said.defaults_of,
    )
    if ranks is None:
        sizes = {one.path.partition(".")[2]: one.value for one in made.assignments if one.path.startswith("model.")}
        ranks, note = _smallest_world(sizes)
        note = note._replace(remedy="set it with --world-size N")
        args = MegatronArgs(made.args.settings, made.args.findings, ranks)
        made = made._replace(world_size=ranks, args=args, findings=(*made.findings, note))
    return hiding(made, (*secrets_of(source), *found_in_variables(asked.variables)))


# Source -> Run --------------------------------------------------------------------------------------------------------


def run_of(source: Source, asked: Asked) -> tuple[Run, Given, list[Finding]]:
    """All that is true of the run, what was typed for it, and what there is to say of both.

    Raises:
        ValueError: as ``translated``.
    """
    # What stands before a command, or in a script, is only a part of the environment.
    own = {**(source.environment or {}), **source.command.environment}
    command = source.command._replace(environment=own)
    megatron_lm = asked.megatron_lm
    assumed: tuple[Finding, ...] = ()
    if megatron_lm is None:
        words = [word.text for word in command.argv]
        named = asked.program or programs.name_of(command.program or programs.GPT, command.module)
        megatron_lm, assumed = pairs.megatron_lm_of(words, source.text, source.name, source.values, named, asked.bridge)
    program, about = _program(source, asked)
    versions = chosen_versions(megatron_lm, asked.bridge)
    checkout = megatron_lm if of_checkout.is_checkout(megatron_lm) else None
    if program in programs.HYBRID_MODELS:
        its_own = programs.of_hybrid_models(versions.megatron)
        program = of_checkout.program_for_hybrid_models(checkout, its_own) if checkout else its_own
    catalog = of_checkout.catalog_of(checkout, program) if checkout else catalogs.load(versions.megatron)
    run = Run(
        versions,
        catalog,
        asked.world_size or 1,
        {**(asked.env or {}), **own} if own or asked.env is not None else None,
        asked.env is not None,
        program,
        checkout,
        asked.mappings,
        asked.read or _beside(source, asked.within),
        checkpoints_here=asked.find_is_of_run,
    )
    assumed += pairs.about_megatron_lm(asked.megatron_lm, versions.megatron)
    assumed += pairs.about_bridge(asked.bridge, versions.bridge)
    findings = [*assumed, *source.findings, *about, *command.findings]
    if source.values is not None:
        from bridge_args.megatron_lm.resolvers import saved

        run = run._replace(world_size=_ranks_saved(source.values), whole_env=False)
        if wrong := saved.wrong_values(source.values, catalog):
            raise WrongValue(f"the saved arguments are not those of a run of Megatron-LM: {'; '.join(wrong[:3])}")
        return run, saved.given_by(source.values, run), findings
    unused = {row.argument for row in tables.load(versions).rows.values() if row.fate in ("launcher", "not_needed")}
    given = parse(command.argv, catalog, unused=unused)
    if given.values.get("use_checkpoint_args"):
        run, told = _with_checkpoints(given, run, asked.find or _folders_beside(source, asked.within))
        findings += told
    ranks = asked.world_size or world_size_of(command) or _world_size_in(run.env)
    if ranks is None:
        ranks, note = _smallest_world({**given.values, **{name: one.value for name, one in run.taken.items()}})
        findings.append(note)
    return run._replace(world_size=ranks), given, findings


def _program(source: Source, asked: Asked) -> tuple[str, tuple[Finding, ...]]:
    """The program whose parser and builders count, and what is to be said of the one in the words."""
    if source.values is not None:
        from bridge_args.megatron_lm.resolvers import saved

        return programs.MAMBA if saved.is_hybrid(source.values) else programs.GPT, ()
    command = source.command
    program = asked.program or programs.meaning_of(command.program or programs.GPT, command.module).taken_for
    if program not in PROGRAMS:
        raise WrongValue(f"program is one of {', '.join(PROGRAMS)}, not {program!r}")
    finding = programs.finding_of(command.program, command.module)
    # What it is taken for need not be said to who says it.
    if finding is None or (asked.program is not None and finding.level != "error"):
        return program, ()
    return program, (finding._replace(place=command.place),)


def _beside(source: Source, within: tuple[str, ...]) -> Read:
    """Reads what a command line names: where the script starts it, beside the script, or in the current folder."""
    if source.started is None and not source.text:
        return reader((), within)
    beside = os.path.dirname(source.name)
    folder = source.started.folder if source.started else ""
    places = [os.path.join(beside, folder)] if folder and "$" not in folder else []
    return reader((*places, beside or "."), within)


def _folders_beside(source: Source, within: tuple[str, ...]) -> Find:
    """The same for folders."""
    beside = os.path.dirname(source.name)
    folder = source.started.folder if source.started else ""
    places = [os.path.join(beside, folder)] if folder and "$" not in folder else []
    places += [beside or "."] if source.started is not None or source.text else []
    return finder(places, within)


def _with_checkpoints(given: Given, run: Run, find: Find) -> tuple[Run, tuple[Finding, ...]]:
    """The run with what ``--use-checkpoint-args`` takes, and what there is to say of it.

    Raises:
        ValueError: values that no run of Megatron-LM has saved.
    """
    from bridge_args.megatron_lm.resolvers import saved
    from bridge_args.source.checkpoint_args import from_checkpoints

    found = from_checkpoints(given, run, find)
    if wrong := saved.wrong_values({name: one.value for name, one in found.taken.items()}, run.catalog):
        raise WrongValue(
            f"the arguments in the checkpoint are not those of a run of Megatron-LM: {'; '.join(wrong[:3])}"
        )
    return run._replace(checkpoints=found.checkpoints, taken=found.taken), found.findings


def _ranks_saved(values: Mapping[str, object]) -> int:
    ranks = values.get("world_size")
    return ranks if isinstance(ranks, int) and ranks > 0 else _smallest_world(values)[0]


def _world_size_in(env: Mapping[str, str] | None) -> int | None:
    text = (env or {}).get("WORLD_SIZE", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def _smallest_world(values: Mapping[str, object]) -> tuple[int, Finding]:
    def size(name: str) -> int:
        value = values.get(name)
        return value if isinstance(value, int) and value > 0 else 0

    tensor, pipeline = size("tensor_model_parallel_size") or 1, size("pipeline_model_parallel_size") or 1
    context, expert = size("context_parallel_size") or 1, size("expert_model_parallel_size") or 1
    expert_tensor = size("expert_tensor_parallel_size") or tensor
    ranks = fewest_ranks(tensor, pipeline, context, expert, expert_tensor)
    sizes = f"tensor {tensor} x pipeline {pipeline} x context {context}"
    if ranks > tensor * pipeline * context:
        sizes += f", for experts tensor {expert_tensor} x pipeline {pipeline} x expert {expert}"
    verb = "is assumed" if ranks == 1 else "are assumed, the fewest that are possible"
    message = f"the number of GPUs is not known; {ranks} {verb} ({sizes})"
    return ranks, Finding("assumed-world-size", message, "set it with --world-size N, or give the torchrun command")


# Run -> effective arguments -------------------------------------------------------------------------------------------


def _resolver(source: Source, run: Run) -> Resolver:
    """The one that knows best: the run itself, then the user's own Megatron-LM."""
    if source.values is not None:
        from bridge_args.megatron_lm.resolvers import saved

        return saved.resolver_of(source.values)
    return of_checkout.resolve if run.checkout else built_in.resolve


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


def _without_a_monitor(source: Source, run: Run, given: Given, args: MegatronArgs) -> Iterator[Finding]:
    """``--enable-ft-package`` where nothing starts what its workers connect to.

    See megatron/training/ft_integration.py setup and RankMonitorClient of nvidia_resiliency_ext.fault_tolerance.
    """
    name, launcher = "enable_ft_package", source.command.launcher
    if not args.is_on(name) or launcher == "ft_launcher" or "FT_RANK_MONITOR_IPC_SOCKET" in (run.env or {}):
        return
    message = "the workers of --enable-ft-package connect to a monitor that only ft_launcher starts"
    kind = "launcher"
    if launcher is not None:
        kind, message = "stops-later", f"{message}; {launcher} starts none, and they stop"
    yield Finding(kind, message, "start them with ft_launcher", (name,), given.place(name), given.excerpt(name))


# Rows -> Translation --------------------------------------------------------------------------------------------------


def _mapped(source: Source, run: Run, given: Given, args: MegatronArgs, findings: list[Finding]) -> Translation:
    """Rows are applied to what somebody has typed, or a run has saved."""
    schema, catalog = bridge_schema.load(run.versions.bridge), run.catalog
    table = tables.load(run.versions)
    if run.mappings is not None:
        from bridge_args.mapping import own

        table = own.with_own_rows(table, run.mappings, run.versions, catalog, schema)
    files: dict[str, int] = {}

    def reading(name: str) -> str:
        text = (run.read or read_nothing)(name)
        files[name] = len(text)
        return text

    done = apply(args, given, table, schema, catalog, run.program, reading)
    typed = source.values is None
    ignored, unread = told(args, given, table.rows, catalog, run.program) if typed else ((), frozenset())
    mapped = (finding for finding in done.findings if not finding.changes or not unread.issuperset(finding.arguments))
    findings = [*findings, *mapped, *ignored, *map(_was_read, files.items())]
    # What a fork has, and our tables do not.
    if any(argument.dest not in done.outcomes and not argument.requires for argument in catalog.arguments):
        from bridge_args.mapping import own

        for outcome, finding in own.without_row(args, given, table, catalog):
            done.outcomes[outcome.argument] = outcome
            findings += [finding] if finding else []
    if status_of(run.versions) != "proven":
        from bridge_args.mapping import unproven

        findings.append(unproven.finding(run.versions, table, catalog, typed and not run.checkout))
    needed = [word for index, word in enumerate(given.words) if index not in given.open]
    unknown = tuple(dict.fromkeys(name for word in needed for name in word.unresolved if name.isidentifier()))
    return Translation(
        assignments=tuple(
            assignment._replace(value=referring(assignment.value, unknown)) if unknown else assignment
            for assignment in done.assignments.values()
        ),
        outcomes=done.outcomes,
        findings=tuple(findings),
        args=args,
        classes=done.classes,
        schema=schema,
        versions=run.versions,
        world_size=args.world_size,
        program=run.program,
        environment=run.env or {},
        launcher=source.command.launcher_options,
        words=tuple(word.text for word in given.words),
        catalog=catalog,
        places=tuple(word.place for word in given.words),
        unresolved=unknown,
    )


def _was_read(file: tuple[str, int]) -> Finding:
    name, length = file
    return Finding("file-read", f"{name} was read: {length} characters; the translation holds its content")


def compared(source: Source, asked: Asked) -> tuple[list[str], tuple[Finding, ...]]:
    """Where a checkout's own resolver and the built-in one disagree on a command, one line an argument.

    Returns:
        The disagreements, and what the checkout has to say against the command line.

    Raises:
        ValueError: the checkout cannot be asked.
    """
    from bridge_args.megatron_lm.resolvers.live import disagreements

    if source.stated is not None:
        raise UserError(
            f"two resolvers need a command line of Megatron-LM, and the source is {source.stated.made_from}"
        )
    theirs = translated(source, asked)
    ours = translated(
        source,
        asked._replace(
            megatron_lm=theirs.versions.megatron,
            world_size=theirs.world_size,
            program=theirs.program,
            mappings=None,
        ),
    )
    refused = [[str(finding) for finding in t.errors if finding.kind != "bridge-rejects"] for t in (ours, theirs)]
    if bool(refused[0]) != bool(refused[1]):
        who = ("the checkout accepts", "built in") if refused[0] else ("built in accepts", "the checkout")
        return [f"{who[0]} the command line, {who[1]} refuses it: {(refused[0] or refused[1])[0]}"], ()
    if refused[0]:
        return [], theirs.errors
    return [str(one) for one in disagreements(ours.args, theirs.args)], ()


__all__ = ["PROGRAMS", "Asked", "run_of", "translate", "translate_saved", "translated"]
