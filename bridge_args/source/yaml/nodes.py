"""YAML as data with places: text, lists and mappings. Nothing is built, no tag is obeyed, nothing is multiplied.

PyYAML's composers call themselves for every level, the one in C without a limit: a file of 50000 brackets ends the
process. Here the parser's events are read in a loop. An alias is the node it names, never a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.words import Place

MAX_TEXT: Final = 1_000_000  # characters; the largest file of Megatron-LM's tests has 9 kB
MAX_DEPTH: Final = 100
MAX_DOCUMENTS: Final = 500  # of one file
MAX_ENTRIES: Final = 20_000  # of one mapping, with what it merges

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_OF_SEVERAL: Final = frozenset(_CORE + name for name in ("seq", "map", "set"))  # a set is a mapping to nothing
_READ: Final = _OF_SEVERAL | {_CORE + name for name in ("str", "int", "float", "bool", "null", "merge")}


class YamlProblem(UserError, ValueError):
    """The file cannot be read; the message says where and why.

    Attributes:
        commands: how many runs it describes: 0, or more than one; None where that is not known.
    """

    def __init__(self, message: str, commands: int | None = None) -> None:
        super().__init__(message)
        self.commands = commands


class Scalar(Record):
    """One value as text.

    Attributes:
        tag: what YAML 1.1 takes it for: ``str``, ``int``, ``float``, ``bool``, ``null``, ``merge``, ...
        plain: written without quotes?
    """

    text: str
    tag: str
    plain: bool
    place: Place


class Sequence(Record):
    items: list[Any]  # nodes
    place: Place


class Mapping(Record):
    """Pairs in the order of the file; a key may stand twice, and ``<<`` is a key like others."""

    pairs: list[tuple[Scalar, Any]]
    place: Place


Node = Scalar | Sequence | Mapping


def read(text: str, name: str) -> Node | None:
    """The one document of a file; None where it is empty.

    Raises:
        YamlProblem: when it is not YAML, too large or too deep, has tags of its own, or several documents.
    """
    found = read_all(text, name, most=1)
    return found[0] if found else None


def read_all(text: str, name: str, most: int = MAX_DOCUMENTS) -> list[Node]:
    """The documents of a file, but for empty ones.

    Raises:
        YamlProblem: as for ``read``, and more than ``most`` documents.
    """
    if len(text) > MAX_TEXT:
        raise YamlProblem(f"{name} has {len(text)} characters; no YAML of more than {MAX_TEXT} is read")
    try:
        loader = _Loader(text)
        return _Builder(loader, name, most).documents()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlProblem(f"{name}:{line}: not readable as YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise YamlProblem(f"{name} is not readable as YAML: {error}") from error


def entries(mapping: Mapping) -> list[tuple[Scalar, Node]]:
    """The pairs of a mapping with what it merges in front; of several with one key the last, at the place of the first.

    Raises:
        YamlProblem: when ``<<`` names something that is no mapping, or there are too many.
    """
    own = {key.text for key, _ in mapping.pairs if key.tag != "merge"}
    found: dict[str, tuple[Scalar, Node]] = {}
    for key, value in _merged(mapping, []):
        if key.text not in own:
            found.setdefault(key.text, (key, value))
    for key, value in mapping.pairs:
        if key.tag != "merge":
            found[key.text] = (key, value)
    return list(found.values())


def item(mapping: Mapping, key: str) -> Node | None:
    """The value of a key; None where there is none."""
    return next((value for name, value in entries(mapping) if name.text == key), None)


def text_of(node: Node | None) -> str | None:
    """The text of a value; None for null, lists, mappings, and where there is no value."""
    return node.text if isinstance(node, Scalar) and node.tag != "null" else None


def _merged(mapping: Mapping, visits: list[Place]) -> Iterator[tuple[Scalar, Node]]:
    """What a mapping merges, nearest first; ``visits`` counts what was looked at, empty mappings too."""
    for key, value in mapping.pairs:
        if key.tag != "merge":
            continue
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                raise YamlProblem(f"{key.place}: << takes a mapping, or a list of them")
            visits += [key.place] * (1 + len(source.pairs))
            if len(visits) > MAX_ENTRIES:
                raise YamlProblem(f"{key.place}: more than {MAX_ENTRIES} entries are merged")
            yield from (pair for pair in source.pairs if pair[0].tag != "merge")
            yield from _merged(source, visits)


class _Builder:
    """Events -> nodes, in a loop; ``open`` holds the collections that are not yet complete."""

    def __init__(self, loader: Any, name: str, most: int) -> None:
        self.loader = loader
        self.name = name
        self.most = most  # documents
        self.open: list[tuple[Sequence | Mapping, str | None]] = []
        self.keys: list[Scalar | None] = []  # for each open collection the key that waits for its value
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None

    def documents(self) -> list[Node]:
        found: list[Node] = []
        count = 0
        while self.loader.check_event():
            event = self.loader.get_event()
            place = Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1)
            match event:
                case yaml.DocumentStartEvent():
                    count += 1
                    if count > self.most:
                        what = "a second document; give a file with one" if self.most == 1 else "too many documents"
                        raise YamlProblem(f"{place}: {what}")
                case yaml.DocumentEndEvent():
                    found += [] if self.root is None else [self.root]
                    self.root = None
                    self.anchors.clear()
                case yaml.AliasEvent():
                    if event.anchor not in self.anchors:
                        raise YamlProblem(f"{place}: *{event.anchor} is not known here")
                    self._add(self.anchors[event.anchor], place)
                case yaml.ScalarEvent():
                    scalar = Scalar(event.value, self._tag(event, place), not event.style, place)
                    self._named(event.anchor, scalar)
                    self._add(scalar, place)
                case yaml.SequenceStartEvent():
                    self._start(Sequence([], place), event, place)
                case yaml.MappingStartEvent():
                    self._start(Mapping([], place), event, place)
                case yaml.CollectionEndEvent():
                    node, anchor = self.open.pop()
                    self.keys.pop()
                    self._named(anchor, node)  # only now: a node does not hold itself
                    self._add(node, place)
        return found

    def _start(self, node: Sequence | Mapping, event: Any, place: Place) -> None:
        self._check(event.tag, place)
        if len(self.open) >= MAX_DEPTH:
            raise YamlProblem(f"{place}: more than {MAX_DEPTH} levels")
        self.open.append((node, event.anchor))
        self.keys.append(None)

    def _add(self, node: Node, place: Place) -> None:
        if not self.open:
            self.root = node
            return
        around = self.open[-1][0]
        if isinstance(around, Sequence):
            around.items.append(node)
        elif self.keys[-1] is None:
            if not isinstance(node, Scalar):
                raise YamlProblem(f"{place}: a key is a word here, not a list or a mapping")
            self.keys[-1] = node
        else:
            around.pairs.append((self.keys[-1], node))
            self.keys[-1] = None

    def _named(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def _tag(self, event: Any, place: Place) -> str:
        self._check(event.tag, place)
        if event.tag in _OF_SEVERAL:
            raise YamlProblem(f"{place}: one value is no {event.tag.removeprefix(_CORE)}")
        if event.tag is not None:
            return "str" if event.tag == "!" else str(event.tag.removeprefix(_CORE))
        return str(self.loader.resolve(yaml.ScalarNode, event.value, event.implicit).removeprefix(_CORE))

    def _check(self, tag: str | None, place: Place) -> None:
        if tag not in (None, "!") and tag not in _READ:
            assert tag is not None
            raise YamlProblem(f"{place}: the tag {tag.replace(_CORE, '!!')} is not read; nothing here is executed")
