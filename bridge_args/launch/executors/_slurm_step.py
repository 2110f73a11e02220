"""A step as a batch file of Slurm: one task on one node, in the container of the profile."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from bridge_args.errors import WrongValue
from bridge_args.launch.executors import _step
from bridge_args.launch.executors._nemo_run import FIELDS, QUIET, SlurmJob, batch_file
from bridge_args.launch.work import Step
from bridge_args.secret_names import is_secret
from bridge_args.secrets import found_in_variables

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ONE_TASK: Final = ("nodes", "ntasks_per_node")
_OF_THE_JOB: Final = frozenset(
    ("container_image", "container_mounts", "mounts", "srun_args", "additional_parameters", "output", "error")
)
_ELSEWHERE: Final = "the job is submitted from this machine, by its sbatch"
_NOT_HERE: Final = {
    **dict.fromkeys(("host", "user", "tunnel", "identity"), _ELSEWHERE),
    **dict.fromkeys(("remote_job_dir", "workspace", "lustre_mount"), "it only names a folder for other settings"),
    "pip_extras": "install what the job needs by startup_commands, or take an image that has it",
    "build_partition": "no image is built",
    "build_include_gpus": "no image is built",
    "build_gpus_per_node": "no image is built",
}


def text_of(step: Step) -> str:
    """The batch file.

    Raises:
        WrongValue: a setting of the profile is none that a job can have.
        NemoRunMissing: nemo-run is not there.
    """
    settings = step.settings
    _step.refuse_secrets(step, settings.keys() - {"env_vars"})
    options = {name.replace("_", "-"): _option(name, value) for name, value in settings.items() if _is_option(name)}
    options |= {"nodes": "1", "ntasks-per-node": "1"}
    for name, value in _table(settings.get("additional_parameters"), "additional_parameters").items():
        options[str(name).replace("_", "-")] = _option(str(name), value)
    for finding in _step.left_out(step, {*_OF_THE_JOB, *_ONE_TASK, *filter(_is_option, settings)}, _NOT_HERE):
        step.say(finding)
    if str(settings.get("nodes", 1)) != "1":
        step.say(f"the step runs on one node: nodes {settings['nodes']} of the profile counts as 1")
    mounts = [str(mount) for name in ("mounts", "container_mounts") for mount in _items(settings.get(name), name)]
    image = settings.get("container_image")
    job = SlurmJob(
        name=step.name,
        options={name: value for name, value in options.items() if value is not False},
        output=str(settings.get("output") or "slurm-%j.out"),
        error=str(settings["error"]) if settings.get("error") else None,
        container_image=shlex.quote(str(image)) if image else None,
        container_mounts=tuple(map(shlex.quote, mounts)) if image else (),
        srun_options=(*_stays(image), *map(str, _items(settings.get("srun_args"), "srun_args"))),
        setup=tuple(_exports(step)),
        command=_command(step),
    )
    return batch_file(job)


def _stays(image: Any) -> tuple[str, str]:
    """nemo-run changes to a folder of its own, which is not there."""
    return ("--container-workdir", "/nemo_run") if image else ("--chdir", '"$PWD"')


def _is_option(name: str) -> bool:
    return name.replace("_", "-") in FIELDS


def _option(name: str, value: Any) -> str | bool:
    if isinstance(value, (list, dict)):
        raise WrongValue(f"{name} of the profile is no text and no number")
    if any(char < " " for char in str(value)):
        raise WrongValue(f"{name} of the profile has more than one line")
    return value if isinstance(value, bool) else str(value)


def secret_variables(step: Step) -> dict[str, str]:
    """Variables of the profile that stand in no file."""
    said = _step.variables(step)
    return {name: one for name, one in said.items() if is_secret(name) or found_in_variables({name: one})}


def _exports(step: Step) -> list[str]:
    """The profile's variables; one that is a secret is taken from the environment that the job is submitted from."""
    lines, secret = [QUIET], secret_variables(step)
    for name, value in _step.variables(step).items():
        if not _NAME.fullmatch(name):
            raise WrongValue(f"env_vars of the profile has {name!r}, which is no name of a variable")
        if name in secret:
            lines.append(f'export {name}="${{{name}-}}"')
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    return lines


def _command(step: Step) -> str:
    """In the container: what comes first, then the step."""
    first, command = _step.startup(step), shlex.join(step.words)
    return shlex.join(["bash", "-c", "\n".join(["set -e", *first, command])]) if first else command


def _items(value: Any, name: str) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise WrongValue(f"{name} of the profile is no list")


def _table(value: Any, name: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise WrongValue(f"{name} of the profile is no table")
