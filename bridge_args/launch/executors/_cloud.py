"""Steps on the clouds that nemo-run has executors for: its own object is made of the profile, and its own experiment
submits it. What ``--dry-run`` writes is that object's fields and the script; nothing is asked of the cloud for it.
"""

from __future__ import annotations

import dataclasses
import importlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final, get_origin

from bridge_args.errors import WrongValue
from bridge_args.launch.executors import _step
from bridge_args.launch.executors._nemo_run import VERSION, NemoRunMissing, classes
from bridge_args.launch.work import Step
from bridge_args.records import Record

DETACHED = True  # a job goes on when this process has ended
_BY_ITSELF: Final = {
    "pip_extras": "install what the job needs by startup_commands, or take an image that has it",
    "workspace": "it only names a folder for other settings",
    "code_src_dir": "no source is brought along; the job runs what its image has installed",
    "remote_job_dir": "it only names a folder for other settings",
    "ray_version": "the step needs no Ray",
    "build_partition": "no image is built",
}


class Cloud(Record):
    """How a step gets to one of them.

    Attributes:
        title: of nemo-run's class, in its module.
        module: below ``nemo_run.core.execution``.
        renamed: what profiles call otherwise: their name to that of the class.
        fields: settings that always are so; ``None`` for those that the profile must have.
        needs: the package whose client submits, and how it is installed.
        asks: fields that the profile must have, although the class does without.
        text: makes the text of a dry run of the object and the script; None: its fields and the script.
    """

    title: str
    module: str
    renamed: Mapping[str, str]
    needs: tuple[str, str]
    asks: tuple[str, ...] = ()
    text: Callable[[Cloud, Any, Step], str] | None = None


def start(cloud: Cloud, step: Step) -> int:
    """Submits a step, or writes what would be submitted.

    Raises:
        WrongValue: a setting is missing, or is none that the executor takes.
        NemoRunMissing: nemo-run or the cloud's client is not there.
    """
    _step.whole_paths(step)
    kind = classes(cloud.module)[0]
    made = getattr(kind, cloud.title)
    fields = _fields(cloud, step, made)
    used = {*fields, *cloud.renamed}
    for finding in _step.left_out(step, used, {k: v for k, v in _BY_ITSELF.items() if k not in used}):
        step.say(finding)
    if step.dry_run:
        step.write(
            cloud.text(cloud, _without_client(made)(**fields), step) if cloud.text else _text(cloud, fields, step)
        )
        return 0
    return _submitted(cloud, fields, step)


def _fields(cloud: Cloud, step: Step, made: Any) -> dict[str, Any]:
    """The settings of the profile that the class has, by its names."""
    known = {field.name: field for field in dataclasses.fields(made) if field.init}
    said = {cloud.renamed.get(name, name): value for name, value in step.settings.items()}
    fields = {name: value for name, value in said.items() if name in known and name not in ("launcher", "packager")}
    _of_their_types(fields, known)
    for name in ("nodes", "num_nodes"):
        if str(fields.get(name, 1)) != "1":
            step.say(f"the step runs on one node: nodes {fields[name]} of the profile counts as 1")
    fields |= {name: 1 for name in ("nodes", "num_nodes", "nprocs_per_node") if name in known}
    fields["env_vars"] = _step.variables(step)
    needed = [name for name, field in known.items() if _is_needed(field) or name in cloud.asks]
    if missing := [name for name in needed if not fields.get(name)]:
        raise WrongValue(f"the profile lacks {', '.join(missing)}; add them to it, or say --with {missing[0]}=…")
    return fields


def _of_their_types(fields: Mapping[str, Any], known: Mapping[str, dataclasses.Field[Any]]) -> None:
    """
    Raises:
        WrongValue: a list, a table or a number is none.
    """
    for name, value in fields.items():
        kind = get_origin(known[name].type) or known[name].type
        if kind in (list, dict) and not isinstance(value, kind):
            raise WrongValue(f"{name} of the profile is no {'list' if kind is list else 'table'}")
        if kind is int and not str(value).isdigit():
            raise WrongValue(f"{name} of the profile is no whole number")


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def script_of(cloud: Cloud, step: Step) -> str:
    """What the job runs, for bash."""
    first = [] if "startup_commands" in cloud.renamed else _step.startup(step)
    return "".join(f"{line}\n" for line in ("set -e", *first, shlex.join(step.words)))


def _text(cloud: Cloud, fields: Mapping[str, Any], step: Step) -> str:
    """The object's fields and the script, as YAML."""
    return yaml_of(
        f"# nemo-run {VERSION}: {cloud.title}",
        _step.shown({"executor": fields, "script": script_of(cloud, step)}, _step.secrets_of(step)),
    )


def yaml_of(head: str, content: Mapping[str, Any]) -> str:
    yaml: Any = importlib.import_module("yaml")

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Writes texts of several lines as they stand."""

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    made: str = yaml.dump(dict(content), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    return f"{head}\n{made}"


def _without_client(made: Any) -> Any:
    """The class, asking no cloud who is there when it is made."""
    return type(made.__name__, (made,), {"__post_init__": lambda self: None})


def _submitted(cloud: Cloud, fields: Mapping[str, Any], step: Step) -> int:
    package, install = cloud.needs
    try:
        importlib.import_module(package)
        run: Any = importlib.import_module("nemo_run")
    except ImportError as missing:
        raise NemoRunMissing(f"{cloud.title} cannot be used: {missing}; {install}") from missing
    executor = getattr(importlib.import_module(f"nemo_run.core.execution.{cloud.module}"), cloud.title)(**fields)
    with run.Experiment(step.name, executor=executor) as experiment:
        experiment.add(run.Script(inline=script_of(cloud, step)), name=step.name)
        experiment.run(detach=DETACHED)
    step.say(f"submitted {step.name}")
    return 0
