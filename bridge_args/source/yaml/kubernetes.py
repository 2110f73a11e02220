"""Kubernetes manifests: the containers of a job, and what the kind of job says around them.

A container is a command and its environment wherever it stands: in a Pod, a Job, a JobSet, a job of Kubeflow's training
operator (PyTorchJob, MPIJob), a TrainJob, or a job of Volcano. How many pods there are is counted from what stands
around it. Facts: kubernetes.io, "Define a Command and Arguments for a Container" and "Dependent Environment Variables";
Kubeflow's training operator, which sets ``PET_*`` and ``WORLD_SIZE``; Kubeflow Trainer, ``TrainJob.spec.trainer``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Table
from typing import Final

from bridge_args.records import Record
from bridge_args.script.programs import SHELLS
from bridge_args.source.yaml.nodes import Mapping, Node, Scalar, Sequence, YamlProblem, entries, item, read_all, text_of
from bridge_args.words import Word

_KIND: Final = re.compile(r"^kind:[ \t]*\S", re.MULTILINE)
_VERSION: Final = re.compile(r"^apiVersion:[ \t]*\S", re.MULTILINE)
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_GPU: Final = "nvidia.com/gpu"
_MAX_VISITS: Final = 50_000  # of nodes of one job; an alias is visited wherever it stands
_COUNTS: Final = ("replicas", "parallelism", "numNodes")  # how many of what stands below
_TEXT_FOLLOWS: Final = re.compile(r"^-[a-z]*c[a-z]*$")
# Set in every pod by an operator, each with a value of its own.
_OF_A_POD: Final = frozenset(
    "RANK LOCAL_RANK NODE_RANK PET_NODE_RANK MASTER_ADDR MASTER_PORT PET_MASTER_ADDR PET_MASTER_PORT HOSTNAME "
    "JOB_COMPLETION_INDEX VC_TASK_INDEX VK_TASK_INDEX".split()
)
_SETS_WORLD: Final = ("PyTorchJob", "TrainJob")


class Container(Record):
    """What one kind of pod runs.

    Attributes:
        words: its command and arguments; empty where a shell reads ``text``.
        text: the script of a shell, with as many empty lines in front as stand above it in the file.
        positional: the words behind that script.
        environment: variables whose values are in the manifest, or set by the operator because of it.
        gpus: of each pod; None where the manifest asks for none.
    """

    words: tuple[Word, ...]
    text: str | None
    positional: tuple[str, ...]
    environment: Table[str, str]
    gpus: int | None


class _Pod(Record):
    spec: Mapping  # has ``containers``
    counts: tuple[int, ...]  # of what stands around it


def is_manifest(text: str) -> bool:
    """Kubernetes wants both keys in every object."""
    return _KIND.search(text) is not None and _VERSION.search(text) is not None


def containers(text: str, name: str) -> list[Container]:
    """The containers of all jobs of a manifest that have a command, in the order of the file.

    Args:
        text: one or several documents.
        name: the file's name, for places.

    Raises:
        YamlProblem: it cannot be read as YAML.
    """
    documents = [document for document in read_all(text, name) if isinstance(document, Mapping)]
    documents = [one for document in documents for one in _listed(document)]
    files = {key: value for document in documents for key, value in _config_maps(document)}
    found: list[Container] = []
    for document in documents:
        found += _of_job(document, files, text.splitlines())
    return found


def _of_job(job: Mapping, files: Table[tuple[str, str], Scalar], lines: list[str]) -> Iterator[Container]:
    kind = text_of(item(job, "kind")) or ""
    spec = item(job, "spec")
    pods = list(_pods(spec if isinstance(spec, Mapping) else job, (), []))
    total = sum(_product(pod.counts) for pod in pods)
    each = _number(text_of(item(spec, "nprocPerNode"))) if isinstance(spec, Mapping) else None
    for pod in pods:
        nodes = total if kind in _SETS_WORLD else _product(pod.counts)
        for container in _items(item(pod.spec, "containers")):
            yield from _container(container, pod.spec, kind, nodes, each, files, lines)
    trainer = item(spec, "trainer") if isinstance(spec, Mapping) else None
    if isinstance(trainer, Mapping):  # a TrainJob says itself what its runtime's pods run
        nodes = _number(text_of(item(trainer, "numNodes"))) or 1
        each = _number(text_of(item(trainer, "numProcPerNode")))
        yield from _container(trainer, trainer, kind, nodes, each, files, lines)


def _pods(node: Node, counts: tuple[int, ...], visits: list[None]) -> Iterator[_Pod]:
    """Every mapping that has containers, wherever it stands; the depth is bounded by the reader of the file."""
    visits.append(None)
    if len(visits) > _MAX_VISITS:
        raise YamlProblem(f"{node.place}: this job has more than {_MAX_VISITS} parts, aliases counted")
    if isinstance(node, Sequence):
        for one in node.items:
            yield from _pods(one, counts, visits)
    if not isinstance(node, Mapping):
        return
    if isinstance(item(node, "containers"), Sequence):
        yield _Pod(node, counts)
        return
    here = [_number(text_of(item(node, name))) for name in _COUNTS]
    counts = (*counts, *(count for count in here if count))
    for _, value in entries(node):
        yield from _pods(value, counts, visits)


def _container(
    node: Mapping,
    pod: Mapping,
    kind: str,
    nodes: int,
    each: int | None,
    files: Table[tuple[str, str], Scalar],
    lines: list[str],
) -> Iterator[Container]:
    scalars = [*_scalars(item(node, "command")), *_scalars(item(node, "args"))]
    if not scalars:
        return
    gpus = _gpus(item(node, "resources")) or _gpus(item(node, "resourcesPerNode"))
    known, unknown = _environment(item(node, "env"))
    if kind in _SETS_WORLD:
        operator = {"PET_NNODES": str(nodes), "WORLD_SIZE": str(nodes * (each or 1))}
        if each:
            operator["PET_NPROC_PER_NODE"] = str(each)
        known = {**operator, **known}
    words = tuple(_word(scalar, known, unknown | _OF_A_POD) for scalar in scalars)
    script = _script(words, scalars, _mounted(node, pod, files))
    if script is None:
        yield Container(words, None, (), known, gpus)
        return
    scalar, at = script
    is_word = scalar in scalars
    text = words[scalars.index(scalar)].text if is_word else scalar.text
    positional = tuple(word.text for word in words[at:])
    yield Container((), "\n" * _lines_above(scalar, lines) + text, positional, known, gpus)


def _script(words: tuple[Word, ...], scalars: list[Scalar], mounted: Table[str, Scalar]) -> tuple[Scalar, int] | None:
    """The script that a container runs by a shell or by itself, and where the words for it begin."""
    name = words[0].text.rsplit("/", 1)[-1]
    if name not in SHELLS:
        return (mounted[words[0].text], 1) if words[0].text in mounted else None
    for at, word in enumerate(words[1:], start=1):
        if _TEXT_FOLLOWS.match(word.text):
            return (scalars[at + 1], at + 3) if at + 1 < len(words) else None
        if not word.text.startswith("-"):
            return (mounted[word.text], at + 1) if word.text in mounted else None
    return None


def _word(scalar: Scalar, known: Table[str, str], unknown: frozenset[str]) -> Word:
    """``$(NAME)`` is the value of a variable of the container, ``$$`` a dollar; what is not set stays as written."""
    left: list[str] = []

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name is None:
            return "$"
        if name in known:
            return known[name]
        if name in unknown:
            left.append(name)
            return f"${{{name}}}"
        return found.group()

    text = _REFERENCE.sub(value, scalar.text)
    return Word(text, scalar.place, tuple(left))


def _environment(node: Node | None) -> tuple[dict[str, str], frozenset[str]]:
    """Values by name, and names whose values are elsewhere (a secret, the state of the pod)."""
    known: dict[str, str] = {}
    unknown = set()
    for one in _items(node):
        name, value = text_of(item(one, "name")), item(one, "value")
        if name is None:
            continue
        if value is None:
            unknown.add(name)
            continue
        text = text_of(value) or ""
        known[name] = _REFERENCE.sub(lambda found: known.get(found.group(1) or "", found.group()), text)
    return known, frozenset(unknown)


def _config_maps(document: Mapping) -> Iterator[tuple[tuple[str, str], Scalar]]:
    """(name of the ConfigMap, key) -> text."""
    if text_of(item(document, "kind")) != "ConfigMap":
        return
    metadata, data = item(document, "metadata"), item(document, "data")
    name = text_of(item(metadata, "name")) if isinstance(metadata, Mapping) else None
    if name is not None and isinstance(data, Mapping):
        yield from (((name, key.text), value) for key, value in entries(data) if isinstance(value, Scalar))


def _mounted(node: Mapping, pod: Mapping, files: Table[tuple[str, str], Scalar]) -> dict[str, Scalar]:
    """Path in the container -> text, of the ConfigMaps of the same file."""
    volumes = {}
    for volume in _items(item(pod, "volumes")):
        config = item(volume, "configMap")
        if isinstance(config, Mapping):
            volumes[text_of(item(volume, "name"))] = text_of(item(config, "name"))
    found = {}
    for mount in _items(item(node, "volumeMounts")):
        config_map = volumes.get(text_of(item(mount, "name")))
        path, sub = (text_of(item(mount, "mountPath")) or "").rstrip("/"), text_of(item(mount, "subPath"))
        for (name, key), value in files.items():
            if name == config_map and sub in (None, key):
                found[path if sub else f"{path}/{key}"] = value
    return found


def _gpus(resources: Node | None) -> int | None:
    if not isinstance(resources, Mapping):
        return None
    for part in ("limits", "requests"):
        amounts = item(resources, part)
        if isinstance(amounts, Mapping) and (number := _number(text_of(item(amounts, _GPU)))):
            return number
    return None


def _lines_above(scalar: Scalar, lines: list[str]) -> int:
    """How many lines of the file stand above the first of a text; a block begins below its ``|``."""
    line = lines[scalar.place.line - 1] if scalar.place.line <= len(lines) else ""
    is_block = line[scalar.place.column - 1 : scalar.place.column] in ("|", ">")
    return scalar.place.line if is_block else scalar.place.line - 1


def _items(node: Node | None) -> Iterator[Mapping]:
    if isinstance(node, Sequence):
        yield from (one for one in node.items if isinstance(one, Mapping))


def _scalars(node: Node | None) -> list[Scalar]:
    return [one for one in node.items if isinstance(one, Scalar)] if isinstance(node, Sequence) else []


def _listed(document: Mapping) -> Iterator[Mapping]:
    """The objects of a List; any other object is itself one."""
    if text_of(item(document, "kind")) == "List":
        yield from _items(item(document, "items"))
    else:
        yield document


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and 0 < len(text) < 7 and int(text) > 0 else None


def _product(counts: tuple[int, ...]) -> int:
    made = 1
    for count in counts:
        made *= count
    return made


__all__ = ["Container", "containers", "is_manifest"]
