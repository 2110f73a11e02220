"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import Final

from bridge_args.versions import PROVEN

DEVICES: Final = ("auto", "cpu", "cuda")
_PLACES: Final = frozenset("ADAPTER CHECKOUT DIR FILE FOLDER NEW OUT".split())  # in the help, for what is a path
REPORTS: Final = ("text", "json", "markdown", "html")


def owners(parser: argparse.ArgumentParser) -> dict[str, tuple[str, ...]]:
    """Every option of every command, and the commands that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, command in commands_in(parser).items():
        actions = [action for one in (command, *commands_in(command).values()) for action in one._actions]
        flags = dict.fromkeys(flag for action in actions for flag in action.option_strings)
        for flag in flags:
            if flag not in ("-h", "--help"):
                found[flag] = (*found.get(flag, ()), name)
    return found


def commands_in(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers right below one, by the word that leads to each."""
    kinds = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: command for kind in kinds for name, command in kind.choices.items()}


def source(command: argparse.ArgumentParser) -> None:
    """What every command takes that starts from a command line."""
    words(command)
    command.add_argument("--verbose", action="store_true", help="show notes, not only their number")
    common(command)


def words(command: argparse.ArgumentParser) -> None:
    """Where a command line stands."""
    command.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a script, a YAML file, a checkpoint, or - for stdin"
    )
    command.add_argument(
        "words", nargs="*", metavar="WORD", help="arguments of the script: its $1, $2, ...; after -- any"
    )
    command.add_argument("--command", dest="number", type=positive, metavar="N", help="which of a script's commands")


def common(command: argparse.ArgumentParser) -> None:
    """What every command takes that translates."""
    unsaid(command)
    command.add_argument("--strict", action="store_true", help="a loss that changes the numbers is an error")


def unsaid(command: argparse.ArgumentParser) -> None:
    """What a command line does not say itself."""
    command.add_argument(
        "--world-size", type=positive, metavar="N", help="number of GPUs, if the command does not give it"
    )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the script")
    command.add_argument("--mappings", metavar="FILE", help="rows of your own, for the flags of a fork")


def without_empty_names(command: argparse.ArgumentParser) -> None:
    """An empty name of a file is a variable without a value; the current folder or no file at all is not meant."""
    for one in (command, *commands_in(command).values()):
        for action in one._actions:
            if action.type is None and isinstance(action.metavar, str) and _PLACES & set(action.metavar.split("|")):
                action.type = _named


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; has the variable in its place no value?")
    return text


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expects a whole number of at least 1, not {text!r}")
    return int(text)


def training(command: argparse.ArgumentParser, shrink: str) -> None:
    """What every command takes that trains here.

    Args:
        shrink: what ``--shrink`` says of itself.
    """
    command.add_argument("--steps", type=positive, metavar="N", help="stop after N iterations; the schedule stays")
    command.add_argument("--shrink", action="store_true", help=shrink)
    command.add_argument("--nproc", type=positive, metavar="N", help="processes; default: all, or 1 with --shrink")
    command.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU if there is one")


def converting(command: argparse.ArgumentParser) -> None:
    """What every command takes that has Bridge convert a checkpoint."""
    command.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU if there is one")
    command.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model; default: none is run"
    )


def iteration(command: argparse.ArgumentParser) -> None:
    """Which one of the checkpoints that a run of Megatron-LM has saved."""
    command.add_argument(
        "--iteration",
        type=positive,
        metavar="N",
        help="which checkpoint; default: the one that the tracker names",
    )


def versions(command: argparse.ArgumentParser, again: bool = False) -> None:
    """What every command takes: between which two programs it stands.

    Args:
        again: the parser is one below that of a command, which has them too; what is said there counts.
    """
    default = argparse.SUPPRESS if again else None
    command.add_argument(
        "--megatron-lm",
        metavar="VERSION|CHECKOUT",
        default=default,
        help="default: what the source speaks of, else what goes with the Bridge (`versions` lists the pairs)",
    )
    command.add_argument(
        "--bridge", metavar="VERSION", default=default, help=f"default: the installed one, or {PROVEN.bridge}"
    )


def none(command: argparse.ArgumentParser) -> None:
    """For commands without options of their own."""
