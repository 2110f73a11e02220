"""``python -m bridge_args.dev catalog``: a catalog, by running a checkout's program as far as its parser."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import bridge_args
from bridge_args.megatron_lm.catalog import Argument

# What the launcher sets; the numbers tell which variable a default was taken from.
_LAUNCHER: Final = {"RANK": "101", "LOCAL_RANK": "102", "WORLD_SIZE": "103", "LOCAL_WORLD_SIZE": "104"}
_USUAL: Final = {name: Argument._field_defaults.get(name) for name in Argument._fields}


def from_checkout(checkout: Path, version: str | None = None, program: str = "pretrain_gpt.py") -> dict[str, Any]:
    """The content of a catalog file; ``ref`` and ``commit`` are empty where the checkout is not a git repository.

    The program is started three times in processes of their own, with and without the optional packages that bring
    flags along; takes half a minute.

    Args:
        version: what to call it; None for the tag (without ``core_v``), else what the checkout's package says.

    Raises:
        ValueError: when there is no such program, or it does not come as far as its command line.
    """
    if not (checkout / program).is_file():
        raise ValueError(f"{checkout} holds no {program}; name the root of a Megatron-LM checkout")
    full = _probe(checkout / program, ["--kitchen"])
    without_kitchen = _probe(checkout / program, [], _LAUNCHER)
    without_modelopt = _probe(checkout / program, ["--kitchen", "--hide", "modelopt"])
    ref, commit = _git(checkout)
    return {
        "version": version or version_of(checkout),
        "ref": ref,
        "commit": commit,
        "program_defaults": full["program_defaults"],
        "arguments": compact(
            full["arguments"],
            requires={"nvidia_kitchen": without_kitchen["arguments"], "nvidia-modelopt": without_modelopt["arguments"]},
            launched=without_kitchen["arguments"],
        ),
    }


def version_of(checkout: Path) -> str:
    """What a checkout is called: its tag without ``core_v``, else what its package says.

    Raises:
        ValueError: it says nothing.
    """
    named = re.fullmatch(r"core_v(.+)", _git(checkout)[0])
    try:
        return named.group(1) if named else _package_version(checkout)
    except (OSError, KeyError) as problem:
        raise ValueError(f"{checkout} does not say which version it is; give it a --name") from problem


def compact(
    arguments: Sequence[Mapping[str, Any]],
    requires: Mapping[str, Sequence[Mapping[str, Any]]],
    launched: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The arguments as a catalog file has them: only what differs from ``Argument``'s own defaults.

    Args:
        arguments: everything the program can have, in order.
        requires: optional package to what the program has without it.
        launched: what it has with the launcher's variables set as in ``_LAUNCHER``.
    """
    defaults_when_launched = {argument["flags"][0]: argument["default"] for argument in launched}
    variables = {int(value): name for name, value in _LAUNCHER.items()}
    entries = []
    for argument in arguments:
        flag = argument["flags"][0]
        entry = dict(argument)
        for package, rest in requires.items():
            if flag not in {other["flags"][0] for other in rest}:
                entry["requires"] = package
        launched_default = defaults_when_launched.get(flag, argument["default"])
        if launched_default != argument["default"]:
            entry["environment"] = variables[launched_default]
        entries.append({name: entry[name] for name, usual in _USUAL.items() if name in entry and entry[name] != usual})
    return entries


def _probe(program: Path, options: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What ``parser_probe`` finds, in a process whose environment is free of a launcher."""
    package = Path(bridge_args.__file__).resolve().parents[1]
    variables = {name: value for name, value in os.environ.items() if name not in _LAUNCHER}
    variables |= {**(environment or {}), "PYTHONPATH": str(package), "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "parser.json"
        command = [sys.executable, "-m", "bridge_args.dev.parser_probe", str(program.resolve()), str(output), *options]
        done = subprocess.run(command, cwd=program.parent, env=variables, capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"{program} did not come as far as its command line:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


def _git(checkout: Path) -> tuple[str, str]:
    """Tag (the commit where there is none) and commit of a checkout; empty where it is not a repository."""
    if not (checkout / ".git").exists():
        return "", ""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    return git("describe", "--tags", "--exact-match") or commit, commit


def _package_version(checkout: Path) -> str:
    return str(runpy.run_path(str(checkout / "megatron" / "core" / "package_info.py"))["__shortversion__"])
