"""Records are what ``typing`` and ``dataclasses`` make of the same class body."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import pytest

from bridge_args import records


def body_of_a_tuple(base: Any) -> Any:
    class Point(base):  # type: ignore[misc]
        """Where."""

        x: int
        y: int = 2
        name: str = ""

        def __str__(self) -> str:
            return f"{self.x}/{self.y}"

        @property
        def total(self) -> int:
            return self.x + self.y

    return Point


def body_of_dataclasses(kind: Any, frozen: bool) -> tuple[Any, Any]:
    @kind.dataclass(frozen=frozen, slots=True)
    class Base:
        at: int
        written: str = kind.field(default="", kw_only=True)

    @kind.dataclass(frozen=frozen, slots=True)
    class Made(Base):
        """What is made."""

        body: tuple[int, ...]
        more: list[int] | tuple[int, ...] = kind.field(default_factory=tuple if frozen else list)
        index: int | None = None

        @property
        def size(self) -> int:
            return len(self.body)

    return Base, Made


OURS, TYPING = body_of_a_tuple(records.Record), body_of_a_tuple(typing.NamedTuple)


@pytest.mark.parametrize(
    "look",
    [
        lambda Point: Point(1),
        lambda Point: Point(1, name="a")._replace(y=5),
        lambda Point: Point(y=3, x=1)._asdict(),
        lambda Point: Point._make([1, 2, "a"]),
        lambda Point: (repr(Point(1)), str(Point(1)), Point(1).total, hash(Point(1))),
        lambda Point: (Point.__name__, Point.__qualname__, Point.__module__, Point.__doc__, Point.__match_args__),
        lambda Point: (Point._fields, Point._field_defaults, Point.__bases__, Point.__slots__),
        lambda Point: [Point(1) == (1, 2, ""), Point(1) < Point(2), Point(1) + (4,)],
    ],
)
def test_a_record_is_a_named_tuple(look: Callable[[Any], object]) -> None:
    assert look(OURS) == look(TYPING)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "to be changed"])
@pytest.mark.parametrize(
    "look",
    [
        lambda Base, Made, kind: repr(Made(1, (2, 3))),
        lambda Base, Made, kind: repr(Made(1, body=(), written="w", index=4)),
        lambda Base, Made, kind: repr(Made(1, (), [5], 6)),
        lambda Base, Made, kind: repr(kind.replace(Made(1, (2,)), written="w", index=3)),
        lambda Base, Made, kind: (repr(Base(1)), repr(Base(1, written="a"))),
        lambda Base, Made, kind: [Made(1, ()) == Made(1, ()), Made(1, ()) == Made(2, ()), Base(1) == Made(1, ())],
        lambda Base, Made, kind: (Made.__match_args__, Made.__slots__, Made.__doc__, Made(1, (2,)).size),
        lambda Base, Made, kind: Made.__hash__ is None or hash(Made(1, (2,))) == hash(Made(1, (2,))),
        lambda Base, Made, kind: Made(1, ()).more is Made(1, ()).more,
        lambda Base, Made, kind: hasattr(Made(1, ()), "__dict__"),
    ],
)
def test_a_dataclass_is_that_of_dataclasses(look: Callable[[Any, Any, Any], object], frozen: bool) -> None:
    ours, original = (look(*body_of_dataclasses(kind, frozen), kind) for kind in (records, dataclasses))
    assert ours == original


@pytest.mark.parametrize("kind", [records, dataclasses], ids=["ours", "dataclasses"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda Made, kind: Made(1),
        lambda Made, kind: Made(body=()),
        lambda Made, kind: Made(1, (), at=1),
        lambda Made, kind: Made(1, (), other=1),
        lambda Made, kind: kind.replace(Made(1, ()), other=1),
        lambda Made, kind: Made(1, (), (), 1, "written", 2),
        lambda Made, kind: Made(1, (), (), 1, "written"),
    ],
)
def test_wrong_values_are_refused(wrong: Callable[[Any, Any], object], kind: Any) -> None:
    with pytest.raises(TypeError):
        wrong(body_of_dataclasses(kind, frozen=True)[1], kind)


@pytest.mark.parametrize("kind", [records, dataclasses], ids=["ours", "dataclasses"])
def test_a_class_of_plain_defaults(kind: Any) -> None:
    @kind.dataclass(frozen=True, slots=True)
    class Plain:
        text: str
        at: int = 0
        last: bool = False

    made = [Plain("a"), Plain("a", 1), Plain("a", 1, True), Plain("a", last=True)]
    assert [(one.text, one.at, one.last) for one in made] == [
        ("a", 0, False),
        ("a", 1, False),
        ("a", 1, True),
        ("a", 0, True),
    ]
    for wrong in ((), ("a", 1, True, 4)):
        with pytest.raises(TypeError):
            Plain(*wrong)


@pytest.mark.parametrize("kind", [records, dataclasses], ids=["ours", "dataclasses"])
def test_only_what_is_not_frozen_changes(kind: Any) -> None:
    frozen, other = (body_of_dataclasses(kind, frozen)[1](1, ()) for frozen in (True, False))
    with pytest.raises(AttributeError):
        frozen.index = 1
    with pytest.raises(AttributeError):
        del frozen.index
    other.index = 1
    assert (frozen.index, other.index) == (None, 1)


def test_fields_have_their_names() -> None:
    _, Made = body_of_dataclasses(records, frozen=True)
    assert records.names_of(Made(1, ())) == ("at", "written", "body", "more", "index")
    assert records.names_of(OURS(1)) == ("x", "y", "name")
