"""The options of every ``bridge-args`` command."""

from __future__ import annotations

import argparse
from typing import Final

FORMATS: Final = ("yaml", "overrides", "run-config", "recipe", "argv", "json")
REPORTS: Final = ("text", "json", "markdown", "html")
DEVICES: Final = ("auto", "cpu", "cuda")


def owners(parser: argparse.ArgumentParser) -> dict[str, tuple[str, ...]]:
    """Every option of every command, and the commands that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                for flag in (flag for one in command._actions for flag in one.option_strings):
                    if flag not in ("-h", "--help"):
                        found[flag] = (*found.get(flag, ()), name)
    return found


def source(command: argparse.ArgumentParser) -> None:
    """What every command takes that starts from a command line."""
    command.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a script, a YAML file, a checkpoint, or - for stdin"
    )
    command.add_argument(
        "words", nargs="*", metavar="WORD", help="arguments of the script: its $1, $2, ...; after -- any"
    )
    command.add_argument("--command", dest="number", type=_positive, metavar="N", help="which of a script's commands")
    command.add_argument("--verbose", action="store_true", help="show notes, not only their number")
    common(command)


def common(command: argparse.ArgumentParser) -> None:
    """What every command takes that translates."""
    command.add_argument(
        "--world-size", type=_positive, metavar="N", help="number of GPUs, if the command does not give it"
    )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the script")
    command.add_argument("--mappings", metavar="FILE", help="rows of your own, for the flags of a fork")
    command.add_argument("--strict", action="store_true", help="a loss that changes the numbers is an error")


def translate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=FORMATS, default="yaml", help="default: yaml")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--full", action="store_true", help="every setting, not only those that matter")
    command.add_argument("--report", choices=REPORTS, help="also print a report (to stderr)")


def report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=REPORTS, default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the report here")


def validate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the answer here, with --format json")


def rehearse(command: argparse.ArgumentParser) -> None:
    command.add_argument("--steps", type=_positive, metavar="N", help="stop after N iterations; the schedule stays")
    command.add_argument("--shrink", action="store_true", help="scale the model down, keep every other choice")
    command.add_argument("--nproc", type=_positive, metavar="N", help="processes; default: all, or 1 with --shrink")
    command.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU if there is one")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("--plot", metavar="FILE", help="also draw the loss curve as a PNG")
    written = command.add_mutually_exclusive_group()
    written.add_argument("--workdir", metavar="DIR", help="keep what it writes there; default: a folder that goes")
    written.add_argument(
        "--real-folders", action="store_true", help="save, log and cache where the command line says, as the run would"
    )


def verify(command: argparse.ArgumentParser) -> None:
    command.add_argument("--steps", type=_positive, metavar="N", help="stop after N iterations; the schedule stays")
    command.add_argument("--shrink", action="store_true", help="scale the model down, on both sides")
    command.add_argument("--nproc", type=_positive, metavar="N", help="processes; default: all, or 1 with --shrink")
    command.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU if there is one")
    command.add_argument("--run-config", metavar="FILE", help="verify this run config of Bridge, not the translation")
    command.add_argument("--override", action="append", default=[], metavar="PATH=VALUE", help="a setting of Bridge's")
    command.add_argument(
        "--hand-over-at", type=_positive, metavar="N", help="both go on from what Megatron-LM saves after N iterations"
    )
    command.add_argument("--workdir", metavar="DIR", help="keep what both sides write; a later run resumes from it")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--plot", metavar="FILE", help="also draw both loss curves as a PNG")


def launch(command: argparse.ArgumentParser) -> None:
    from bridge_args.launch.options import add

    add(command)


def audit(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", metavar="DIR|FILE", help="scripts, YAML files; folders are searched")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    command.add_argument("-o", "--output", metavar="FILE", help="write the result here, whole or not at all")
    command.add_argument("--jobs", type=_positive, metavar="N", help="processes; default: one a core")
    command.add_argument("--timeout", type=_positive, metavar="SECONDS", default=60, help="for one file; default: 60")
    common(command)


def explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="--moe-router-topk, moe_router_topk, or router top k")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="default: text")


def completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash: source <(bridge-args completion bash)")


def checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("inspect",), help="inspect: what the checkpoint stores about its run")
    command.add_argument("path", metavar="DIR", help="the folder given to --save, or one iteration of it")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def none(command: argparse.ArgumentParser) -> None:
    """For commands without options of their own."""


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expects a whole number of at least 1, not {text!r}")
    return int(text)
