"""What is wrong with a configuration file of Bridge's, before a run finds out: read as text, nothing in it is executed.

Any ``run_config.yaml`` will do, whoever wrote it. The schema of a version says which sections, settings, types and
classes there are, ``bridge/unread.py`` which settings do nothing, ``bridge/deprecated.py`` which are to go.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from bridge_args.bridge import checkpoint_rules, targets
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.choices import choices_of, is_taken, near, needs_newer_core
from bridge_args.bridge.deprecated import deprecated
from bridge_args.bridge.schema import Field, Schema, Section
from bridge_args.bridge.types import accepts
from bridge_args.bridge.unread import is_unread
from bridge_args.files import read_file
from bridge_args.records import Record
from bridge_args.source.nemo2.read import command_for
from bridge_args.source.yaml import nodes
from bridge_args.source.yaml.nodes import Node, Scalar, YamlProblem
from bridge_args.values import Built, Member, Partial, Symbol, is_dotted, to_plain
from bridge_args.words import Place

MAX_NODES: Final = 200_000  # what aliases repeat counts again; Bridge's own files have about 1000
SPECIAL: Final = frozenset(
    ("_target_", "_call_", "_args_", "_partial_", "_name_", "_recursive_", "_convert_", "_mode_")
)
_FLOAT: Final = re.compile(r"[-+]?(\d[\d_]*\.?|\d*\.\d+)(e[-+]?\d+)?|[-+]?\.inf|\.nan", re.IGNORECASE)
# What Bridge itself adds to the files that it saves.
_SAVED_BESIDE: Final = frozenset(("data_parallel_size",))

Level = Literal["error", "warning", "note"]
LEVELS: Final[dict[str, Level]] = {
    "not-a-configuration": "error",
    "unknown-section": "error",
    "unknown-setting": "error",
    "missing": "error",
    "wrong-value": "error",
    "unknown-class": "error",
    "refused-class": "error",
    "together": "error",
    "one-iteration": "warning",
    "given-twice": "warning",
    "without-effect": "warning",
    "newer-core": "warning",
    "deprecated": "warning",
    "not-checked": "note",
}


class Problem(Record):
    """One thing that is wrong.

    Attributes:
        kind: a key of ``LEVELS``.
        path: ``section.setting``.
        message: a sentence without a full stop.
        remedy: what to do; empty where the message says it.
        value: of a wrong value, what the file says.
    """

    kind: str
    path: str
    message: str
    place: Place
    remedy: str = ""
    value: Any = None

    @property
    def level(self) -> Level:
        return LEVELS[self.kind]

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


def lint(path: str, bridge: str) -> list[Problem]:
    """What is wrong with a file, for a version of Bridge, in the order of the file.

    Raises:
        YamlProblem: it cannot be read, is no YAML, or too large.
    """
    try:
        text = read_file(path)
    except OSError as error:
        raise YamlProblem(f"{path} cannot be read: {error.strerror or error}") from error
    return lint_text(text, path, bridge)


def lint_text(text: str, name: str, bridge: str) -> list[Problem]:
    """The same for a text; ``name`` is what places call it."""
    root = nodes.read(text, name)
    if not isinstance(root, nodes.Mapping):
        place = root.place if root is not None else Place(name, 1)
        return [Problem("not-a-configuration", "", "a configuration of Bridge's is a mapping of sections", place)]
    if command := command_for(text, name):
        message = "this is a configuration of NeMo's, and lint reads those of Bridge"
        return [Problem("not-a-configuration", "", message, root.place, f"make one of it first: {command} -o FILE")]
    linter = _Linter(schemas.load(bridge))
    linter.container(root)
    return sorted(linter.problems, key=lambda problem: (problem.place.line, problem.place.column or 0))


class _Linter:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.problems: list[Problem] = []
        self.seen = 0

    def container(self, root: nodes.Mapping) -> None:
        given = self._entries(root, "")
        self._together(given)
        for key, value in given.values():
            section = self.schema.sections.get(key.text)
            if key.text in SPECIAL or key.text in _SAVED_BESIDE:
                continue
            if section is None:
                self._unknown_section(key)
            elif isinstance(value, nodes.Mapping) and section.classes:
                self._section(section, value)
            elif section.classes and not (_is_null(value) and section.optional):
                self._whole(section, value)

    def _together(self, given: Mapping[str, tuple[Scalar, Node]]) -> None:
        """Settings that exclude or need one another; the place is that of the one it is told of."""
        config: dict[str, Any] = {}
        places: dict[str, Place] = {}
        for name, (key, value) in given.items():
            places[name] = key.place
            if name in SPECIAL:
                config[name] = nodes.text_of(value)
            elif isinstance(value, nodes.Mapping):
                entries = nodes.entries(value)
                config[name] = {one.text: _scalar(node) for one, node in entries if isinstance(node, Scalar)}
                places |= {f"{name}.{one.text}": one.place for one, _ in entries}
        for one in checkpoint_rules.broken(config, self.schema):
            place = places.get(one.path) or places.get(one.path.partition(".")[0]) or next(iter(places.values()))
            self._add(one.kind, one.path, one.message, place, one.remedy)

    def _whole(self, section: Section, value: Node) -> None:
        """A section that is no mapping: a name of a recipe for ``mixed_precision``, or a mistake."""
        field = Field(section.name, section.type, default=section.default)
        self._value(section.name, field, value)

    def _section(self, section: Section, body: nodes.Mapping) -> None:
        given = self._entries(body, section.name)
        class_name = self._class(section, given)
        if class_name is None:
            return
        known = self.schema.classes[class_name]
        self._settings(section.name, known, class_name, given, complete="_target_" in given)
        for key, _ in given.values():
            if f"{section.name}.{key.text}" in deprecated(self.schema.version) and key.text in known:
                value = self._plain(given[key.text][1])
                if value is not None and to_plain(value) != known[key.text].default:
                    path = f"{section.name}.{key.text}"
                    self._add("deprecated", path, f"{path} is deprecated in Bridge {self.schema.version}", key.place)

    def _class(self, section: Section, given: Mapping[str, tuple[Scalar, Node]]) -> str | None:
        """The class a section is built from; None where it is not known, which is told."""
        if "_target_" not in given:
            return section.default_class or section.classes[0]
        key, value = given["_target_"]
        target = nodes.text_of(value) or ""
        if target in self.schema.classes:
            if target not in section.classes:
                message = f"{target} is no class for {section.name}, which takes {_some(section.classes)}"
                self._add("unknown-class", f"{section.name}._target_", message, value.place)
            return target
        self._target(f"{section.name}._target_", target, value.place)
        return None

    def _target(self, path: str, target: str, place: Place) -> None:
        """A class or function that the schema does not list: refused, moved, of another version, or not known here."""
        version = self.schema.version
        if not is_dotted(target):
            self._add("unknown-class", path, f"{target!r} is no dotted name of a class or function", place)
            return
        if not targets.is_allowed(target, version):
            allowed = ", ".join(targets.prefixes(version))
            message = f"Bridge {version} refuses to build {target}: it allows names that begin with {allowed}"
            self._add("refused-class", path, message, place)
            return
        here = [name for name in self.schema.classes if name.rpartition(".")[2] == target.rpartition(".")[2]]
        others = [one for one in schemas.versions() if one != version and target in schemas.load(one).classes]
        if others:
            message = f"Bridge {version} has no class {target}, which Bridge {', '.join(others)} has"
            self._add("unknown-class", path, message, place, f"here it is {here[0]}" if here else "")
        elif here and _package(target) == _package(here[0]):
            message = f"{target} is no class that this version of our data knows"
            self._add("unknown-class", path, message, place, f"a class of that name is {here[0]}")
        elif path.count(".") == 1 and path.endswith("._target_"):
            message = f"the settings of {target} are not known here, and were not checked"
            self._add("not-checked", path, message, place)

    def _settings(
        self,
        path: str,
        known: Mapping[str, Field],
        class_name: str,
        given: Mapping[str, tuple[Scalar, Node]],
        complete: bool,
    ) -> None:
        """The settings of one class: names, values, what does nothing, and what is missing."""
        for name, (key, value) in given.items():
            at = f"{path}.{name}"
            if name in SPECIAL:
                continue
            if name not in known:
                self._unknown_setting(path, key, known, class_name)
                continue
            is_default = self._value(at, known[name], value)
            if not is_default and is_unread(self.schema.version, class_name, name):
                message = f"Bridge {self.schema.version} accepts {at}, and no code reads it: it has no effect"
                self._add("without-effect", at, message, key.place)
        if complete and given:
            for name, field in known.items():
                if field.required and field.init and name not in given and not self._has_other_name(name, given):
                    place = given["_target_"][0].place
                    self._add("missing", f"{path}.{name}", f"{path}.{name} is missing, and has no default", place)

    @staticmethod
    def _has_other_name(name: str, given: Mapping[str, object]) -> bool:
        """Bridge takes the length of a sequence under two names."""
        return name in ("seq_length", "sequence_length") and bool({"seq_length", "sequence_length"} & given.keys())

    def _value(self, path: str, field: Field, node: Node) -> bool:
        """Tells of a value that does not fit; is it the default?"""
        if isinstance(node, Scalar) and node.text == "???" and node.tag == "str":
            self._add("missing", path, f"{path} has no value: ??? stands for one", node.place)
            return True
        if _refers(node):
            return False
        if isinstance(node, nodes.Mapping) and "_target_" in (given := self._entries(node, path)):
            self._object(path, field, node, given)
            value = self._plain(node)
            return bool(to_plain(value) == field.default)
        value = self._plain(node)
        if value == field.default and isinstance(value, bool) is isinstance(field.default, bool):
            return True
        if told := needs_newer_core(path, value, self.schema.version):
            self._add("newer-core", path, told, node.place)
        if not is_taken(path, field, value, self.schema.version):
            taken = choices_of(path, field, self.schema.version) or field.choices or ()
            offered = f"one of {', '.join(map(str, taken))}" if taken else field.type
            more = near(str(value), [str(one) for one in taken])
            if field.enum and isinstance(value, (str, int)):
                more = (
                    f"; a member of {field.enum} is written as {{_target_: {field.enum}, _args_: [...], _call_: true}}"
                )
            self._wrong_value(path, f"{offered}, not {_shown(value)}{more}", value, node.place)
        return False

    def _object(self, path: str, field: Field, node: nodes.Mapping, given: Mapping[str, tuple[Scalar, Node]]) -> None:
        """A value that is an object, a member of an enum, a function or a dtype."""
        target = nodes.text_of(given["_target_"][1]) or ""
        if target in self.schema.classes:
            self._settings(path, self.schema.classes[target], target, given, complete=True)
        elif target not in self.schema.enums or not targets.is_allowed(target, self.schema.version):
            self._target(f"{path}._target_", target, given["_target_"][1].place)
        value = self._plain(node)
        if not accepts(field, value) and to_plain(value) != field.default:
            self._wrong_value(path, f"{field.type}, not {_shown(value)}", value, node.place)

    def _plain(self, node: Node) -> Any:
        """The value that a node stands for, by the names of what would be built."""
        self.seen += 1
        if self.seen > MAX_NODES:
            raise YamlProblem(f"{node.place}: more than {MAX_NODES} values, those that aliases repeat counted again")
        if isinstance(node, Scalar):
            return _scalar(node)
        if isinstance(node, nodes.Sequence):
            return [self._plain(item) for item in node.items]
        given = {key.text: self._plain(value) for key, value in nodes.entries(node)}
        target = given.get("_target_")
        if not isinstance(target, str) or not is_dotted(target):
            return given
        kwargs = {name: value for name, value in given.items() if name not in SPECIAL}
        arguments = given.get("_args_")
        if target in self.schema.enums and isinstance(arguments, list) and len(arguments) == 1:
            members = self.schema.enums[target]
            name = next((name for name, value in members.items() if value == arguments[0]), None)
            return Member(target, name, arguments[0]) if name else Built(target, {"_args_": arguments})
        if given.get("_partial_") is True:
            return Partial(target, kwargs)
        return Symbol(target) if given.get("_call_") is False else Built(target, kwargs)

    def _entries(self, mapping: nodes.Mapping, path: str) -> dict[str, tuple[Scalar, Node]]:
        """The pairs by key; of a key that stands twice the last, which is told."""
        self.seen += len(mapping.pairs)
        seen: set[str] = set()
        for key, _ in mapping.pairs:
            if key.tag != "merge" and key.text in seen:
                at = f"{path}.{key.text}" if path else key.text
                self._add("given-twice", at, f"{at} stands twice; the last one counts", key.place)
            seen.add(key.text)
        return {key.text: (key, value) for key, value in nodes.entries(mapping)}

    def _unknown_section(self, key: Scalar) -> None:
        version = self.schema.version
        others = [one for one in schemas.versions() if one != version and key.text in schemas.load(one).sections]
        message = f"Bridge {version} has no section {key.text}" + (
            f", which Bridge {', '.join(others)} has" if others else ""
        )
        self._add("unknown-section", key.text, message + near(key.text, self.schema.sections), key.place)

    def _unknown_setting(self, path: str, key: Scalar, known: Mapping[str, Field], class_name: str) -> None:
        version, name = self.schema.version, key.text
        at = f"{path}.{name}"
        message = f"Bridge {version} has no {at} ({class_name.rpartition('.')[2]})"
        elsewhere = [other for other in self.schema.called(name) if other != at]
        others = [one for one in schemas.versions() if one != version and schemas.load(one).class_with(at) is not None]
        remedy = ""
        if elsewhere:
            remedy = f"there is {_some(elsewhere)}"
        elif near := difflib.get_close_matches(name, known, 1):
            remedy = f"there is {path}.{near[0]}"
        if others:
            message += f"; Bridge {', '.join(others)} {'has' if len(others) == 1 else 'have'} it"
        self._add("unknown-setting", at, message, key.place, remedy)

    def _wrong_value(self, path: str, takes: str, value: Any, place: Place) -> None:
        self.problems.append(Problem("wrong-value", path, f"{path} takes {takes}", place, value=value))

    def _add(self, kind: str, path: str, message: str, place: Place, remedy: str = "") -> None:
        self.problems.append(Problem(kind, path, message, place, remedy))


def _scalar(node: Scalar) -> Any:
    """What OmegaConf takes a text for, which is YAML but for ``1e-5``."""
    match node.tag:
        case "null":
            return None
        case "bool":
            return node.text.lower() in ("true", "yes", "on")
        case "int":
            try:
                return int(node.text.replace("_", ""), 0)
            except ValueError:
                return node.text
        case "float" | "str" if node.plain and _FLOAT.fullmatch(node.text):
            return float(node.text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return node.text


def _refers(node: Node) -> bool:
    """Is it worked out when the file is loaded: ``${oc.env:NAME}``?"""
    return isinstance(node, Scalar) and "${" in node.text


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag == "null"


def _package(path: str) -> str:
    return ".".join(path.split(".")[:2])


def _some(names: Iterable[str], most: int = 4) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else "null" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_data(problems: Iterable[Problem], path: str, bridge: str) -> dict[str, Any]:
    """The problems for programs."""
    return {
        "schema": 1,
        "file": path,
        "bridge": bridge,
        "problems": [
            {
                "kind": one.kind, "level": one.level, "path": one.path, "line": one.place.line,
                "column": one.place.column, "message": one.message, "remedy": one.remedy,
            }
            for one in problems
        ],
    }  # fmt: skip


def text(problems: Iterable[Problem]) -> Iterator[str]:
    """One line a problem, as compilers write them."""
    for one in problems:
        yield f"{one.place}: {one.level}: {str(one).removeprefix(f'{one.place}: ')} [{one.kind}]"
