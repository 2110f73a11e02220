"""A manifest of Kubernetes: the container whose command starts Megatron-LM."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.script.bash.started import Started
from bridge_args.script.command import read_command
from bridge_args.script.read import Script, read_script
from bridge_args.source.script import listed, megatron_commands, reasons
from bridge_args.source.source import Source, SourceError
from bridge_args.source.yaml.kubernetes import Container, containers


def from_manifest(text: str, name: str, variables: Mapping[str, str], number: int | None) -> Source:
    """The command of a container; what its shell reads is read as a script is.

    Raises:
        YamlProblem, SourceError: it cannot be read; no container starts Megatron-LM, or several do and no ``number``.
    """

    found: dict[tuple[str, ...], tuple[Started, Script, Container]] = {}
    unread: list[Script] = []
    for container in containers(text, name):
        if container.text is None:
            script = Script((Started(container.words, container.environment),))
        else:
            script = read_script(container.text, name, variables, container.positional, inherited=container.environment)
        started = megatron_commands(script)
        unread += [] if started else [script]
        for one in started:  # master and workers run the same
            found.setdefault(tuple(word.text for word in one.words), (one, script, container))
    started_ones = [started for started, _, _ in found.values()]
    if not started_ones:
        why = [line for script in unread for line in reasons(script)]
        message = f"{name} has no container whose command starts pretrain_gpt.py; put the command line after -- instead"
        raise SourceError("\n".join([message, *dict.fromkeys(why)]), 0)
    if number is None and len(started_ones) > 1:
        raise SourceError(listed(started_ones, name), len(started_ones))
    if number is not None and not 1 <= number <= len(started_ones):
        raise SourceError(f"there is no command {number}: {name} holds {len(started_ones)}")
    chosen, script, container = list(found.values())[(number or 1) - 1]
    command = read_command(chosen.words)
    options = dict(command.launcher_options)
    if container.gpus and options.get("nproc_per_node") in ("gpu", "auto"):
        options["nproc_per_node"] = container.gpus
    exports = {**container.environment, **chosen.exports}
    findings = (*script.findings, *chosen.findings)
    return Source(command._replace(launcher_options=options), exports, findings, text, name, chosen.words)
