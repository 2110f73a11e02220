"""The command line of bridge_args; the only module that prints, exits or reads ``sys.argv``.

Results go to stdout or ``-o``, everything said to the user to stderr. Exit 0: done. 1: problems found. 2: wrong use.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from bridge_args import cli_options
from bridge_args.errors import UserError
from bridge_args.files import remember
from bridge_args.findings import KINDS, Finding, without_secrets
from bridge_args.secrets import Secret, masked
from bridge_args.seen import visible_lines
from bridge_args.source.read import MAX_SCRIPT, from_argv, from_checkpoint, from_file, from_text
from bridge_args.source.source import Source, SourceError
from bridge_args.values import finite, references_in
from bridge_args.versions import PROVEN
from bridge_args.wording import counted, listed
from bridge_args.words import OF_A_TASK

if TYPE_CHECKING:
    from bridge_args.emit.report import Format
    from bridge_args.mapping.translation import Translation
    from bridge_args.steps import Asked

STDIN: Final = "<stdin>"


class Problem(UserError):
    """Something the user has to fix; printed without a traceback, exit code 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``bridge-args``.

    Returns:
        0: done. 1: problems found. 2: wrong use (from argparse).
    """
    _open_what_is_closed()
    try:
        os.getcwd()
    except OSError:
        _say("the current folder no longer exists; change to another one and try again")
        return 1
    words = list(sys.argv[1:] if argv is None else argv)
    words, rest = _split(words)
    parser = _parser(words)
    options, unknown = parser.parse_known_args(words)
    if unknown and getattr(options, "source", None) and not any(word.startswith("-") for word in unknown):
        options.words, unknown = [*options.words, *unknown], []  # SOURCE --set A=1 WORD
    if unknown and words[0] != "explain":
        after = "; arguments of the script that begin with - go after --" if getattr(options, "source", None) else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{after}")
    options.rest = [*unknown, *(rest or ())] if unknown else rest  # explain --moe-router-topk
    if rest and words and words[0] in _WITHOUT_WORDS:
        parser.error(f"{words[0]} takes no arguments after --: {' '.join(rest)}")
    options.typed = cache(_typed)  # standard input is read once
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        if rest and getattr(options, "source", "") is None:
            _none_of_ours_among(rest, options)
        return command(options)
    except UserError as problem:
        _say(str(problem))
        return problem.code
    except BrokenPipeError:  # the reader of our output went away: not our problem
        _give_up_output()
        return 1
    except OSError as error:  # a full disk behind our output, a file that went away in between
        _give_up_output()
        _say(f"{error.filename or 'the standard output'}: {error.strerror or error}")
        return 1
    except ValueError as error:  # a name that no file can have
        if "null byte" not in str(error) and "null character" not in str(error):
            raise
        _say("a name of a file has a NUL character in it, which no file can have")
        return 1
    except (MemoryError, RecursionError) as error:
        _say(f"this is more than can be read ({type(error).__name__}); nothing was translated")
        return 1
    except KeyboardInterrupt:
        return 130


def _open_what_is_closed() -> None:
    """Results are UTF-8 whatever the locale; a closed stream is one that takes nothing, and no other file gets it."""
    if sys.stdout is None:
        os.open(os.devnull, os.O_RDONLY)
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Nothing more is written to stdout, also not when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """One whose errors are safe for a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(visible_lines(masked(message)))


def _split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """What stands after ``--`` is no option of ours: words of the script, or without SOURCE the command line itself."""
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, None


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the command that the words name gets its options, because making options takes time."""
    parser = _Parser(
        prog="bridge-args",
        description="Translates a Megatron-LM command line into a Megatron Bridge configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version of this program")
    parser.set_defaults(run=_version)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    named = words[0] if words and words[0] in _COMMANDS else None
    for name, (summary, run, from_source, add_options) in _COMMANDS.items():
        if named in (None, name):
            usage = (
                f"bridge-args {name} [options] SOURCE [WORD...]\n       bridge-args {name} [options] SOURCE -- WORD..."
                f"\n       bridge-args {name} [options] -- <argv…>"
            )
            command = subparsers.add_parser(
                name, help=summary, description=summary, allow_abbrev=False, usage=usage if from_source else None
            )
            command.set_defaults(run=run, command=name)
            add_options(command)
            command.add_argument(
                "--megatron-lm", metavar="VERSION|CHECKOUT", default=None, help=f"default: {PROVEN.megatron}"
            )
            command.add_argument(
                "--bridge", metavar="VERSION", default=None, help=f"default: the installed one, or {PROVEN.bridge}"
            )
            if from_source:
                cli_options.source(command)
    return parser


# ---------------------------------------------------------------- subcommands


def _translate(options: argparse.Namespace) -> int:
    translation = _translation(options)
    _say_findings(translation, options)
    if options.report:
        _print(_reported(translation, options, options.report, _coloured(sys.stderr)).rstrip("\n"))
    if _refused(translation, options):
        return 1
    _write(_rendered(translation, options), options.output)
    return 0


def _report(options: argparse.Namespace) -> int:
    translation = _translation(options)
    coloured = options.output is None and _coloured(sys.stdout)
    _write(_reported(translation, options, options.format, coloured), options.output)
    return 1 if translation.errors or (options.strict and translation.number_losses) else 0


def _validate(options: argparse.Namespace) -> int:
    """With ``--format json`` the answer is written whatever it is."""
    from bridge_args.emit import validation
    from bridge_args.training.container import BridgeRejects, to_container

    translation, more, message = None, [], ""
    status: validation.Status = "errors"
    try:
        translation = _to_run(options, _asked(options))
        if not _is_stopped(translation, options):
            to_container(translation)
            status = "ok"
        elif not translation.errors:
            status = "losses"
    except SourceError as problem:
        more = [Finding("unreadable-source", str(problem))]
    except BridgeRejects as problem:
        more = [Finding("bridge-rejects", str(problem))]
    except UserError as problem:
        status, message = "not-validated", str(problem)
    for said in [message, *(finding.message for finding in more)]:
        if said:
            _say(said)
    if status == "ok" and translation is not None:
        _say(f"Megatron Bridge {translation.versions.bridge} accepts the configuration")
    if options.format == "json":
        answer = validation.validation(status, translation, more, message)
        _write(validation.text_of(answer), options.output)
    return 0 if status == "ok" else 1


def _rehearse(options: argparse.Namespace) -> int:
    translation = _runnable(options, _asked_for_processes(options))
    if translation is None:
        return 1
    from bridge_args.rehearse.rehearse import rehearse

    return rehearse(
        translation,
        sys.stdout,
        sys.stderr,
        steps=options.steps,
        shrink=options.shrink,
        nproc=options.nproc,
        device=options.device,
        format=options.format,
        plot=options.plot,
        folder=options.workdir,
        real_folders=options.real_folders,
    )


def _verify(options: argparse.Namespace) -> int:
    """Exit 1 where the two runs differ."""
    import contextlib
    import tempfile

    from bridge_args.files import read_file
    from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
    from bridge_args.verify import page
    from bridge_args.verify.changed import change
    from bridge_args.verify.translating import translations
    from bridge_args.verify.verify import Request, verify

    checkout = options.megatron_lm
    if not checkout or not is_checkout(checkout):
        raise Problem("verify runs Megatron-LM's own program; name a checkout of it with --megatron-lm CHECKOUT")
    translation = _runnable(options, _asked_for_processes(options))
    if translation is None:
        return 1
    try:
        text = read_file(options.run_config) if options.run_config else None
        changed = change(text, options.run_config or "", options.override)
        with contextlib.ExitStack() as stack:
            folder = options.workdir or stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-args-verify-"))
            request = Request(
                os.path.abspath(checkout),
                Path(folder),
                options.steps,
                options.shrink,
                options.nproc,
                options.device,
                changed,
                options.hand_over_at,
                own=text is not None,
            )
            result = verify(translation, translations(translation, checkout, options.mappings), request, _say)
    except OSError as error:
        raise Problem(f"{error.filename} cannot be read or written: {error.strerror}") from error
    made = page.json_of(result) if options.format == "json" else page.text_of(result)
    _write(masked(made, translation.secrets), options.output)
    if options.plot:
        try:
            page.save_png(result, Path(options.plot))
        except ModuleNotFoundError as error:
            raise Problem(f"{options.plot} was not drawn: pip install matplotlib") from error
        except OSError as error:
            raise Problem(f"{options.plot} cannot be written: {error.strerror or error}") from error
    return 0 if result.comparison.same else 1


def _launch(options: argparse.Namespace) -> int:
    from functools import partial

    from bridge_args.launch import job
    from bridge_args.launch.options import from_namespace
    from bridge_args.training import added

    asked = _asked(options)
    given = from_namespace(options, asked)
    read = None if _is_checkpoint(options) else job.read(given, partial(_source, options, asked), os.environ)
    if read is not None:
        asked = asked._replace(world_size=read.world_size)
    translation = added.settled(_translation(options, asked, read.translated if read else None))
    _say_findings(translation, options)
    if _refused(translation, options):
        return 1
    tell = partial(_tell, known=translation.secrets)
    return job.launch(given, read, translation, os.environ, partial(_write, path=None), tell)


def _audit(options: argparse.Namespace) -> int:
    from bridge_args.audit import run, summary
    from bridge_args.pairs.pairs import chosen_versions

    chosen_versions(options.megatron_lm, options.bridge)
    told = run.Bar(sys.stderr) if sys.stderr.isatty() else run.silent
    try:
        result = run.audit(options.sources, _asked(options), jobs=options.jobs, timeout=options.timeout, told=told)
    except OSError as error:
        raise Problem(f"{error.filename} cannot be read: {error.strerror}") from error
    if options.format == "json":
        import json

        _write(json.dumps(result, indent=1) + "\n", options.output)
    else:
        _write(summary.text_of(result), options.output)
    searched = any(map(os.path.isdir, options.sources))
    return 1 if summary.has_problems(result, strict=options.strict, searched=searched) else 0


def _diff(options: argparse.Namespace) -> int:
    """Exit 1 where the two resolvers disagree."""
    from bridge_args.megatron_lm.resolvers.of_checkout import is_checkout
    from bridge_args.steps import compared

    if not options.megatron_lm or not is_checkout(options.megatron_lm):
        raise Problem("diff compares a checkout with what is built in; name one with --megatron-lm CHECKOUT")
    asked = _asked(options)
    differing, findings = compared(_source(options, asked), asked)
    for finding in findings:
        _say_finding(finding)
    _write("".join(f"{visible_lines(masked(line))}\n" for line in differing), None)
    _say(counted(len(differing), "disagreement") if differing else "both resolvers agree on every argument")
    return 1 if differing else 0


def _checkpoint(options: argparse.Namespace) -> int:
    from bridge_args.checkpoint import saved_args
    from bridge_args.emit import checkpoint
    from bridge_args.steps import translate_saved

    saved = saved_args.read(options.path)
    translation = translate_saved(saved.values, options.megatron_lm)
    _write(checkpoint.about(saved, translation, options.format), None)
    return 0


def _explain(options: argparse.Namespace) -> int:
    from functools import partial

    from bridge_args import explain
    from bridge_args.megatron_lm import catalog as catalogs
    from bridge_args.megatron_lm import unknown
    from bridge_args.pairs.pairs import chosen_versions
    from bridge_args.steps import translate

    names = [*options.names, *(options.rest or ())]
    if not names:
        raise Problem("nothing to explain: name an argument, or describe it in a few words")
    versions = chosen_versions(options.megatron_lm, options.bridge)
    catalog = catalogs.load(versions.megatron)
    dests = [explain.dest_of(name, catalog) for name in names]
    queries = [name for name, dest in zip(names, dests, strict=True) if dest is None]
    if len(queries) == len(names) and not all(name.startswith("--") for name in names):
        queries = [" ".join(names)]  # explain router top k
    example = partial(translate, world_size=8, megatron_lm=versions.megatron, bridge=versions.bridge)
    facts = [explain.about(dest, versions, example) for dest in dict.fromkeys(dests) if dest is not None]
    missing = False
    if facts:
        _write(explain.pages(facts, options.format), None)
    for query in queries:
        hits = explain.search(query, versions)
        if hits and (options.format != "json" or not facts):  # one document
            _write(("\n" if facts else "") + explain.found(query, hits, options.format), None)
        else:
            old = "" if " " in query else unknown.remedy_of_old("--" + query.lstrip("-"))
            _say(f"no Megatron-LM argument is called {query}" + (f"; {old}" if old else ""))
            missing = True
    return 1 if missing else 0


def _completion(options: argparse.Namespace) -> int:
    from bridge_args.bridge import schema as schemas
    from bridge_args.emit.completion import completion
    from bridge_args.megatron_lm import catalog as catalogs
    from bridge_args.pairs.pairs import chosen_versions

    catalog = catalogs.load(chosen_versions(options.megatron_lm, options.bridge).megatron)
    flags = {flag: argument.choices or argument.members or () for flag, argument in catalog.by_flag.items()}
    values = {"--megatron-lm": catalogs.versions(), "--bridge": schemas.versions(), "explain": catalog.by_flag}
    _write(completion(options.shell, _parser(()), flags, values), None)
    return 0


def _check(options: argparse.Namespace) -> int:
    from bridge_args.mapping.check import check
    from bridge_args.pairs.pairs import chosen_versions

    problems = check(chosen_versions(options.megatron_lm, options.bridge))
    for problem in problems:
        _say(problem)
    return 1 if problems else 0


def _version(options: argparse.Namespace) -> int:
    from bridge_args import __version__

    if not options.version:
        _parser(()).print_help(sys.stderr)
        return 2
    _write(f"bridge-args {__version__}\n", None)
    return 0


# ---------------------------------------------------------------- what they share


def _translation(options: argparse.Namespace, asked: Asked | None = None, source: Source | None = None) -> Translation:
    from bridge_args.steps import translated

    asked = asked or _asked(options)
    return translated(source or _source(options, asked), asked)


def _is_checkpoint(options: argparse.Namespace) -> bool:
    """Raises Problem for one that is given words: they would be lost."""
    if not options.source or not os.path.isdir(options.source):
        return False
    if words := _words_of_script(options):
        raise Problem(f"{options.source} is a folder, which takes no arguments: {' '.join(words)}")
    return True


def _runnable(options: argparse.Namespace, asked: Asked) -> Translation | None:
    """The translation, where it can run on this machine: no errors, and a value for every variable; else None."""
    translation = _to_run(options, asked)
    return None if _is_stopped(translation, options) else translation


def _to_run(options: argparse.Namespace, asked: Asked) -> Translation:
    """The translation for a command that runs it, with its findings said.

    A variable that the source leaves open has the value that this process has for it, as in the user's shell. What the
    run needs beside its configuration is there, unless the configuration is one of the user's own.

    Raises:
        Problem: Bridge is not installed, which is said before anything is read.
    """
    from bridge_args.bridge import installed
    from bridge_args.pairs.pairs import BRIDGE
    from bridge_args.training import added

    if missing := installed.missing(options.bridge or BRIDGE):
        raise Problem(missing)
    translation = _translation(options, asked)
    here = {name: os.environ[name] for name in translation.unresolved if name in os.environ}
    told = {name for word in translation.words for name in OF_A_TASK if f"${name}" in word or f"${{{name}" in word}
    here |= dict.fromkeys(sorted(told - set(os.environ)), "0")  # as the first task has it
    if here:
        translation = _translation(options, asked._replace(variables={**here, **asked.variables}))
    if not getattr(options, "run_config", None):
        translation = added.settled(translation)
    _say_findings(translation, options)
    return translation


def _is_stopped(translation: Translation, options: argparse.Namespace) -> bool:
    """Has it errors, or losses under ``--strict``?

    Raises:
        Problem: the value of a variable is not known.
    """
    if _refused(translation, options):
        return True
    if translation.unresolved and not getattr(options, "shrink", False):  # scaled down, the run's files are left alone
        names = translation.unresolved
        given = " ".join(f"--set {name}=VALUE" for name in names)
        raise Problem(f"the value of {', '.join(f'${name}' for name in names)} is not known; give it with {given}")
    return False


def _asked(options: argparse.Namespace) -> Asked:
    from bridge_args.steps import Asked

    variables = _variables(options)
    return Asked(options.megatron_lm, options.bridge, options.world_size, options.mappings, variables=variables)


def _asked_for_processes(options: argparse.Namespace) -> Asked:
    """As many ranks as processes, unless something else is said or the model is scaled down."""
    asked = _asked(options)
    ranks = asked.world_size or (None if options.shrink else options.nproc)
    return asked._replace(world_size=ranks)


def _source(
    options: argparse.Namespace,
    asked: Asked,
    inherited: Mapping[str, str] | None = None,
    job: Sequence[str] = (),
    first_task: bool = False,
) -> Source:
    if options.source is None and options.rest is not None:
        return from_argv(options.rest)
    if options.source is None:
        raise Problem("nothing to translate: name a launch script, or put the command line after --")
    if _is_checkpoint(options):
        return from_checkpoint(options.source)
    words, about = _words_of_script(options), (inherited, job, first_task, asked.megatron_lm)
    if options.source == "-":
        remember("/dev/stdin")
        return from_text(options.typed(), STDIN, asked.variables, words, options.number, None, *about)
    return from_file(options.source, asked.variables, words, options.number, *about)


def _typed() -> str:
    """What stands on standard input."""
    if sys.stdin is None:
        raise Problem("standard input is closed; name a launch script")
    try:
        text = sys.stdin.read(MAX_SCRIPT + 1)
    except UnicodeDecodeError as error:
        raise Problem(f"{STDIN} is no text: byte {error.start} is not UTF-8") from error
    if len(text) > MAX_SCRIPT:
        raise Problem(f"{STDIN} has more than {MAX_SCRIPT} characters; that is no launch script")
    return text


def _none_of_ours_among(words: Sequence[str], options: argparse.Namespace) -> None:
    """Refuses options of our own among the arguments of Megatron-LM, which has none of these names.

    Raises:
        Problem: it says where they belong.
    """
    from bridge_args.megatron_lm import unknown

    typed = dict.fromkeys(
        word.text.partition("=")[0] for word in from_argv(words).command.argv if word.text.startswith("-")
    )
    foreign = [flag for flag in typed if not unknown.is_known(flag)]
    if not foreign or (options.megatron_lm and "/" in options.megatron_lm):  # a fork may have a flag of any name
        return
    owners = cli_options.owners(_parser(()))
    here = [flag for flag in foreign if options.command in owners.get(flag, ())]
    said = []
    if here:
        what = "is an option of bridge-args: put it" if len(here) == 1 else "are options of bridge-args: put them"
        said.append(f"{listed(here)} {what} before --")
    for flag in foreign:
        if flag in owners and flag not in here:
            commands = " and ".join(f"bridge-args {command}" for command in owners[flag])
            said.append(f"{flag} is an option of {commands}, not of {options.command}: leave it out")
    if said:
        raise Problem("\n".join(said))


def _words_of_script(options: argparse.Namespace) -> list[str]:
    """Behind the script's name, those after ``--`` too: its ``$1``, ``$2``, ..."""
    return [*options.words, *(options.rest or ())]


def _variables(options: argparse.Namespace) -> dict[str, str]:
    """What ``--set`` gives."""
    variables = {}
    for pair in options.set:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Problem(f"--set expects NAME=VALUE, not {pair!r}")
        variables[name] = value
    return variables


def _reported(translation: Translation, options: argparse.Namespace, format: Format, coloured: bool) -> str:
    from bridge_args.emit.report import report

    sources = _texts(translation, options) if format == "html" else {}
    return report(translation, format, sources=sources, colour=coloured, verbose=options.verbose)


def _texts(translation: Translation, options: argparse.Namespace) -> dict[str, str]:
    """The files that the words come from, as far as they can be read again."""
    from bridge_args.files import read_file

    texts = {}
    for name in dict.fromkeys(place.source for place in translation.places if place):
        try:
            texts[name] = options.typed() if options.source == "-" and name == STDIN else read_file(name)
        except OSError:
            continue  # the page shows the words instead
    return texts


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _rendered(translation: Translation, options: argparse.Namespace) -> str:
    match options.format:
        case "yaml":
            from bridge_args.emit.config_yaml import to_yaml

            return to_yaml(translation, full=options.full)
        case "overrides":
            from bridge_args.emit.hydra import shell_word, to_overrides, unsayable

            for finding in unsayable(translation):
                _say_finding(finding)
            return "".join(shell_word(word, translation.referred) + "\n" for word in to_overrides(translation))
        case "run-config":
            from bridge_args.emit.config_yaml import to_yaml

            return to_yaml(translation, full=True)
        case "recipe":
            from bridge_args.emit.recipe import to_recipe

            return to_recipe(translation)
        case "argv":
            from bridge_args.emit.argv import to_argv
            from bridge_args.emit.hydra import shell_word
            from bridge_args.mapping.hiding import with_references

            words = [with_references(word, translation.secrets) for word in to_argv(translation)]
            return " ".join(shell_word(word, (*translation.unresolved, *references_in(word))) for word in words) + "\n"
        case _:
            import json

            from bridge_args.emit.run_config import to_run_config

            return json.dumps(finite(to_run_config(translation)), indent=1, allow_nan=False) + "\n"


def _refused(translation: Translation, options: argparse.Namespace) -> bool:
    if translation.errors:
        return True
    lost = len(translation.number_losses)
    if options.strict and lost:
        what = "changes the numbers has" if lost == 1 else "change the numbers have"
        _say(f"--strict: {counted(lost, 'setting')} that {what} no equivalent")
        return True
    return False


def _say_findings(translation: Translation, options: argparse.Namespace) -> None:
    """Errors first: they are what must be fixed. Of notes only the number, unless they are asked for."""
    levels = ("error", "warning", "note")
    notes = 0
    for finding in sorted(translation.findings, key=lambda finding: levels.index(finding.level)):
        if options.verbose or KINDS[finding.kind].group != "note":
            _say_finding(finding)
        else:
            notes += 1
    if notes and getattr(options, "report", None) != "text":  # which counts them itself
        from bridge_args.emit.report_data import notes_left_out

        _say(notes_left_out(notes))


def _tell(said: str | Finding, known: Sequence[Secret] = ()) -> None:
    if isinstance(said, Finding):
        _say_finding(said, known)
    else:
        _say(said, known)


def _say_finding(finding: Finding, known: Sequence[Secret] = ()) -> None:
    level = finding.level
    if _coloured(sys.stderr):
        colour = {"error": "31", "warning": "33", "note": "36"}[level]
        level = f"\033[{colour}m{level}\033[0m"  # type: ignore[assignment]
    _print(f"{level}: {visible_lines(str(without_secrets(finding, known)))}")


def _say(text: str, known: Sequence[Secret] = ()) -> None:
    """Tells the user, who may see neither secrets nor what a terminal would act on."""
    _print(visible_lines(masked(text.rstrip("\n"), known)))


def _print(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed or full: there is nobody to tell
        print(text, file=sys.stderr, flush=True)


def _write(text: str, path: str | None) -> None:
    """To stdout, or to a file that is replaced whole or not at all."""
    if path is None:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # half of a surrogate pair that is no byte of the command line
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())
        sys.stdout.flush()
        return
    from bridge_args.files import write_whole

    try:
        write_whole(Path(path), _bytes_of(text))
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror or error}; it is as it was") from error


def _bytes_of(text: str) -> bytes:
    """UTF-8; bytes of the command line that are none stay as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


_WITHOUT_WORDS: Final = ("audit", "checkpoint", "completion", "check")

_COMMANDS: Final[
    dict[str, tuple[str, Callable[[argparse.Namespace], int], bool, Callable[[argparse.ArgumentParser], None]]]
] = {
    # name: (summary, what it does, does it start from a command line, its own options)
    "translate": ("translate a command line or a script", _translate, True, cli_options.translate),
    "report": ("report what becomes of every flag", _report, True, cli_options.report),
    "validate": ("build the real ConfigContainer and let Bridge validate it", _validate, True, cli_options.validate),
    "rehearse": ("train with the real Bridge loop, on a CPU if need be", _rehearse, True, cli_options.rehearse),
    "verify": ("run Megatron-LM and Bridge, and compare the two runs", _verify, True, cli_options.verify),
    "launch": ("start what the script would have started, on Bridge", _launch, True, cli_options.launch),
    "audit": ("translate many scripts and YAML files, and sum up", _audit, False, cli_options.audit),
    "diff": ("compare a checkout's own resolver with the built-in one", _diff, True, cli_options.none),
    "checkpoint": ("look into a checkpoint that Megatron-LM has written", _checkpoint, False, cli_options.checkpoint),
    "explain": ("everything known about an argument", _explain, False, cli_options.explain),
    "completion": ("print a completion script for a shell", _completion, False, cli_options.completion),
    "check": ("check the mapping tables against catalogs and schemas", _check, False, cli_options.none),
}
