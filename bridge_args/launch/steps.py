"""A command that is no training, such as a conversion, as a job of an executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.launch import executors, profiles
from bridge_args.launch.work import Executor, Step


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as settings of an executor; ``true``, ``false`` and whole numbers are what they say.

    Raises:
        WrongValue: a word is none.
    """
    made: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise WrongValue(f"{word!r} is no setting of an executor: write NAME=VALUE, such as partition=batch")
        known = {"true": True, "false": False}
        made[name] = known.get(value, int(value) if value.isdigit() else value)
    return made


def start(
    name: str,
    words: Sequence[str],
    profile: profiles.Profile,
    more: Mapping[str, Any],
    paths: Sequence[str],
    dry_run: bool,
    env: Mapping[str, str],
    write: Callable[[str], None],
    say: Callable[[str | Finding], None],
) -> int:
    """Starts a step where its profile says.

    Args:
        name: of the job.
        words: the command, as it is to run there.
        profile: with an executor.
        more: settings that count more than those of the profile.
        paths: those of the words that are paths for certain.
        dry_run: write what would be started.

    Returns:
        The exit code.

    Raises:
        WrongValue: no such executor, or a setting that is not right.
    """
    if profile.executor is None:
        raise WrongValue("nothing says where it is to run: add --executor NAME, or --profile NAME")
    if profile.executor not in executors.NAMES:
        raise WrongValue(f"there is no executor {profile.executor}; there are {', '.join(executors.NAMES)}")
    executor: Executor = executors.load(profile.executor)
    return executor.step(Step(name, tuple(words), {**profile.settings, **more}, tuple(paths), dry_run, env, write, say))
