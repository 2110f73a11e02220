"""A configuration of Bridge's as plain data: nothing in it is built, and nothing is multiplied by aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from bridge_args.files import read_bytes, remember
from bridge_args.source.yaml.nodes import MAX_TEXT, Mapping, Node, Scalar, YamlProblem, entries, read

_MOST: Final = 200_000  # values, each as often as it is named
_TAG: Final = "tag:yaml.org,2002:"


def mapping_in(file: Path) -> dict[str, Any]:
    """What a ``run_config.yaml`` says; a value has the type that PyYAML's safe loader gives it.

    Raises:
        YamlProblem: it cannot be read, is no mapping, or is larger or deeper than any.
    """
    remember(file)
    try:
        text = read_bytes(file, 4 * MAX_TEXT).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise YamlProblem(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    node = read(text, str(file))
    if not isinstance(node, Mapping):
        raise YamlProblem(f"{file} is no configuration: it holds no sections")
    made: dict[str, Any] = Values(str(file)).of(node)
    return made


class Values:
    """Nodes -> values; counts them, over all that is asked of one reader.

    Attributes:
        most: how many there may be.
        texts: kinds of scalars that are taken as text.
        problem: what is raised.
    """

    most: int = _MOST
    texts: tuple[str, ...] = ("merge", "value")
    problem: type[ValueError] = YamlProblem

    def __init__(self, name: str) -> None:
        self.name, self.met = name, 0
        self.values = yaml.constructor.SafeConstructor()

    def count(self) -> None:
        """Counts one value.

        Raises:
            ValueError: it is one too many; see ``problem``.
        """
        self.met += 1
        if self.met > self.most:
            raise self.problem(f"{self.name} says more than {self.most} values; no configuration does")

    def of(self, node: Node) -> Any:
        self.count()
        if isinstance(node, Scalar):
            return self.scalar(node)
        if isinstance(node, Mapping):
            return {self.scalar(key): self.of(value) for key, value in entries(node)}
        return [self.of(one) for one in node.items]

    def scalar(self, node: Scalar) -> Any:
        tag = "str" if node.tag in self.texts else node.tag
        try:
            return self.values.construct_object(yaml.ScalarNode(_TAG + tag, node.text))
        except ValueError as error:  # an int of a million digits, !!int of a word
            raise self.problem(f"{node.place}: {node.text[:40]} is no {tag}") from error
