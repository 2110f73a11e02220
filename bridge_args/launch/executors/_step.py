"""A step as nemo-run's executors take it: which settings of a profile are whose, and the script that a job runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.launch.work import Step
from bridge_args.secret_names import is_secret
from bridge_args.secrets import MASK, Secret, found_in_variables, holds_secret, masked
from bridge_args.wording import listed

# A step is one program, which starts processes of its own where it needs some.
_PROCESSES: Final = frozenset(("nprocs_per_node", "ntasks_per_node"))
_SCRIPT: Final = frozenset(("env_vars", "startup_commands"))


def startup(step: Step) -> list[str]:
    """What comes first, for bash."""
    return list(map(str, _list(step, "startup_commands")))


def variables(step: Step) -> dict[str, str]:
    """The environment that a profile gives its jobs."""
    said = _table(step, "env_vars")
    if odd := [name for name, value in said.items() if isinstance(value, (list, Mapping))]:
        raise WrongValue(f"env_vars.{odd[0]} of the profile is no text and no number")
    return {str(name): str(value) for name, value in said.items()}


def secrets_of(step: Step) -> tuple[Secret, ...]:
    """Values that are not to be shown."""
    texts = {name: value for name, value in step.settings.items() if isinstance(value, str)}
    return (*found_in_variables(variables(step)), *found_in_variables({n.upper(): v for n, v in texts.items()}))


def refuse_secrets(step: Step, names: Iterable[str]) -> None:
    """What stands in a file that others read states none.

    Raises:
        WrongValue: a setting does.
    """
    for name in names:
        value = step.settings.get(name)
        texts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        if any(holds_secret(f"{name}={text}") for text in texts if isinstance(text, str)):
            raise WrongValue(
                f"{name} of the profile states a secret, which would stand in the batch file; give it to the job by "
                "env_vars, as ${oc.env:NAME}, and write $NAME"
            )


def shown(value: Any, known: Iterable[Secret], name: str = "") -> Any:
    """A setting for people: what is secret by its name or its value is not repeated."""
    if isinstance(value, Mapping):
        return {str(key): shown(one, known, str(key)) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(one, known, name) for one in value]
    if isinstance(value, str):
        return MASK if value and is_secret(name.upper()) else masked(value, tuple(known))
    return value


def left_out(step: Step, used: Iterable[str], why: Mapping[str, str]) -> Iterator[Finding]:
    """Settings of the profile that this executor has no use for, each told."""
    for name in sorted(step.settings.keys() - set(used) - _SCRIPT - why.keys() - _PROCESSES):
        message = f"{name} of the profile is no setting of this executor, and is left out"
        yield Finding("launcher", message)
    for name in sorted(why.keys() & step.settings.keys()):
        if step.settings[name]:
            yield Finding("launcher", f"{name} of the profile is left out: {why[name]}")
    more = [name for name in sorted(_PROCESSES & step.settings.keys()) if step.settings[name] not in (1, "1")]
    if more:
        yield Finding("launcher", f"the step is one process on a node: {listed(more)} of the profile counts as 1")


def whole_paths(step: Step) -> None:
    """In a container elsewhere nothing is where this command is typed.

    Raises:
        WrongValue: a word is a path of this folder.
    """
    for word in (*step.paths, *step.words):
        if word.startswith(("./", "../")) or word in step.paths and not word.startswith("/"):
            raise WrongValue(f"{word} is a path of this folder; name it as the job sees it, by its whole path")


def _list(step: Step, name: str) -> list[Any]:
    value = step.settings.get(name) or []
    if not isinstance(value, list):
        raise WrongValue(f"{name} of the profile is no list")
    return value


def _table(step: Step, name: str) -> Mapping[str, Any]:
    value = step.settings.get(name) or {}
    if not isinstance(value, Mapping):
        raise WrongValue(f"{name} of the profile is no table")
    return value
