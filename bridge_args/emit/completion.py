"""Completion of our command line in bash, zsh and fish: scripts made from the parser itself, which start no Python."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from bridge_args.records import Record

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = ("FILE", "SOURCE", "CHECKOUT", "DIR", "PATH")  # words in a metavar that mean a file
_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./+:,@")


class Option(Record):
    """An option or a positional argument of one of our commands.

    Attributes:
        names: spellings; none for a positional argument.
        takes: has a value.
        words: values to offer.
        file: the value may be a file.
    """

    names: tuple[str, ...]
    help: str
    takes: bool
    words: tuple[str, ...]
    file: bool


class Command(Record):
    """One of our commands."""

    name: str
    summary: str
    options: tuple[Option, ...]
    positional: Option | None


def completion(
    shell: str,
    parser: argparse.ArgumentParser,
    flags: Mapping[str, Iterable[str]],
    values: Mapping[str, Iterable[str]],
) -> str:
    """A script that teaches a shell our command line.

    Args:
        shell: one of ``SHELLS``.
        parser: with all commands and their options.
        flags: Megatron-LM's flags, each with the values it chooses from; offered after ``--``.
        values: option or ``COMMAND`` of ours to words that the parser does not list: versions, names of arguments.

    Raises:
        ValueError: for another shell.
    """
    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in writers:
        raise ValueError(f"there is completion for {', '.join(SHELLS)}, not for {shell!r}")
    chosen = {flag: tuple(_plain(words)) for flag, words in flags.items()}
    lines = writers[shell](commands_of(parser, values), chosen)
    return "".join(f"{line}\n" for line in lines)


def commands_of(parser: argparse.ArgumentParser, values: Mapping[str, Iterable[str]]) -> list[Command]:
    """What the parser knows, command by command."""
    found = []
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            below = [one.choices.values() for one in command._actions if isinstance(one, argparse._SubParsersAction)]
            actions = [one for parser in (command, *chain(*below)) for one in parser._actions]
            options = {one.option_strings[0]: _option(one, values) for one in actions if one.option_strings}
            positional = next((_option(one, values, name) for one in actions if not one.option_strings), None)
            found.append(Command(name, summaries.get(name, ""), tuple(options.values()), positional))
    return found


def _option(action: argparse.Action, values: Mapping[str, Iterable[str]], command: str = "") -> Option:
    names = tuple(action.option_strings)
    more = next((values[name] for name in (*names, command) if name in values), ())
    words = [*_plain(action.choices or ()), *_plain(more)]
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    is_file = any(word in metavar for word in _FILES)
    return Option(names, action.help or "", action.nargs != 0, tuple(words), is_file)


def _plain(words: Iterable[Any]) -> Iterator[str]:
    """The words that mean themselves in every shell."""
    return (str(word) for word in words if str(word) and _SAFE.issuperset(str(word)))


def _cases(commands: Iterable[Command]) -> Iterator[tuple[str, str, Option]]:
    """Command, option and what its value is."""
    for command in commands:
        for option in command.options:
            if option.takes:
                for name in option.names:
                    yield command.name, name, option


# bash and zsh ---------------------------------------------------------------------------------------------------------


def _tables(commands: list[Command], flags: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The part that bash and zsh share: functions that print what may stand somewhere; ``@file`` stands for a file."""
    yield "_bridge_args_flags() {"
    yield "    echo " + " ".join(flags)
    yield "}"
    yield "_bridge_args_flag_values() {  # of a flag of Megatron-LM"
    yield '    case "$1" in'
    by_words: dict[tuple[str, ...], list[str]] = {}
    for flag, words in flags.items():
        if words:
            by_words.setdefault(words, []).append(flag)
    for words, same in by_words.items():
        yield f"        {'|'.join(same)}) echo {' '.join(words)} ;;"
    yield "    esac"
    yield "}"
    yield "_bridge_args_values() {  # of a command's option; fails where the option takes none"
    yield '    case "$1 $2" in'
    for command, name, option in _cases(commands):
        yield f'        "{command} {name}") echo {" ".join([*option.words, *(["@file"] if option.file else [])])} ;;'
    yield "        *) return 1 ;;"
    yield "    esac"
    yield "}"
    yield "_bridge_args_options() {"
    yield '    case "$1" in'
    for one in commands:
        names = [name for option in one.options for name in option.names]
        yield f"        {one.name}) echo {' '.join(names)} ;;"
    yield "    esac"
    yield "}"
    yield "_bridge_args_positional() {"
    yield '    case "$1" in'
    for one in commands:
        if one.positional is not None:
            offered = [*one.positional.words, *(["@file"] if one.positional.file else [])]
            yield f"        {one.name}) echo {' '.join(offered)} ;;"
    yield "    esac"
    yield "}"
    yield "_bridge_args_words() {  # what may stand after the words: the last one before it is the previous one"
    yield '    local command="" previous="" after="" word values'
    yield '    for word in "$@"; do'
    yield '        if [ -z "$command" ]; then command=$word'
    yield '        elif [ "$word" = -- ]; then after=yes; fi'
    yield "        previous=$word"
    yield "    done"
    yield '    if [ -z "$command" ]; then echo ' + " ".join([*(one.name for one in commands), "--help", "--version"])
    yield '    elif [ -n "$after" ]; then'
    yield '        values=$(_bridge_args_flag_values "$previous")'
    yield '        if [ -n "$values" ]; then echo "$values"; else echo "$(_bridge_args_flags) @file"; fi'
    yield '    elif values=$(_bridge_args_values "$command" "$previous"); then echo "$values"'
    yield '    else echo "$(_bridge_args_options "$command") -- $(_bridge_args_positional "$command")"; fi'
    yield "}"


def _bash(commands: list[Command], flags: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield "# Completion of bridge-args for bash: source <(bridge-args completion bash)"
    yield from _tables(commands, flags)
    yield from r"""
_bridge_args() {
    local current=${COMP_WORDS[COMP_CWORD]} offered
    local before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    if [ "$current" = "=" ]; then current=""  # --format=y comes as three words
    elif [ ${#before[@]} -gt 0 ] && [ "${before[${#before[@]}-1]}" = "=" ]; then unset "before[${#before[@]}-1]"; fi
    offered=$(_bridge_args_words "${before[@]}")
    COMPREPLY=($(compgen -W "${offered//@file/}" -- "$current"))
    case " $offered " in
        *" @file "*)
            local IFS=$'\n'
            compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -f -- "$current")) ;;
    esac
}
complete -F _bridge_args bridge-args""".strip().split("\n")


def _zsh(commands: list[Command], flags: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield "#compdef bridge-args"
    yield "# Completion of bridge-args for zsh: source <(bridge-args completion zsh)"
    yield from _tables(commands, flags)
    yield from r"""
_bridge_args() {
    local -a offered
    offered=(${=$(_bridge_args_words "${(@)words[2,CURRENT-1]}")})
    compadd -- ${offered:#@file}
    if (( ${offered[(Ie)@file]} )); then _files; fi
}
if [ "$funcstack[1]" = _bridge-args ]; then _bridge_args "$@"
elif (( $+functions[compdef] )); then compdef _bridge_args bridge-args; fi""".strip().split("\n")


# fish -----------------------------------------------------------------------------------------------------------------


def _fish(commands: list[Command], flags: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield "# Completion of bridge-args for fish: bridge-args completion fish | source"
    yield from r"""
function __bridge_args_in --description 'is this the command, and is the cursor before --'
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv; and not contains -- -- $words
end
function __bridge_args_first
    test (count (commandline -opc)) -eq 1
end
function __bridge_args_after
    set -l words (commandline -opc)
    contains -- -- $words; and not contains -- $words[-1] $__bridge_args_choosing
end
function __bridge_args_flag
    set -l words (commandline -opc)
    contains -- -- $words; and contains -- $words[-1] $argv
end
complete -c bridge-args -e""".strip().split("\n")
    for one in commands:
        yield f"complete -c bridge-args -f -n __bridge_args_first -a {one.name} -d {_fish_text(one.summary)}"
    yield "complete -c bridge-args -f -n __bridge_args_first -l version -d 'print the version of this program'"
    for one in commands:
        here = f'complete -c bridge-args -n "__bridge_args_in {one.name}"'
        for option in one.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            value = ("-r" if option.file else "-x") if option.takes else ""
            words = f"-a '{' '.join(option.words)}'" if option.words else ""
            yield " ".join(filter(None, (here, names, value, words, f"-d {_fish_text(option.help)}")))
        if one.positional is not None and one.positional.words:
            files = "" if one.positional.file else "-f "
            yield f"{here} {files}-a '{' '.join(one.positional.words)}'"
        elif one.positional is None or not one.positional.file:
            yield f"{here} -f"
    choosing = {flag: words for flag, words in flags.items() if words}
    yield f"set -g __bridge_args_choosing {' '.join(choosing)}"
    for flag, chosen in choosing.items():
        yield f"complete -c bridge-args -f -n \"__bridge_args_flag {flag}\" -a '{' '.join(chosen)}'"
    yield f"complete -c bridge-args -n __bridge_args_after -a '{' '.join(flags)}'"


def _fish_text(text: str) -> str:
    return shlex.quote(text.replace("'", "").replace("\\", "").replace("\n", " "))
