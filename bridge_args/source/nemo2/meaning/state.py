"""A configuration of NeMo 2.0 while it is worked out for one version of Bridge."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.findings import CHANGES, Changes, Finding
from bridge_args.mapping.convert import shown
from bridge_args.mapping.settings import Derived, Stated
from bridge_args.source.nemo2.flatten import Run
from bridge_args.values import Member, Symbol

# NeMo's functions, and those that compute the same in Bridge. See nemo/collections/llm/fn/activation.py, ssm.py.
_FUNCTIONS: Final = {
    "nemo.collections.llm.fn.activation.openai_gelu": "GELU by tanh",
    "nemo.collections.llm.fn.activation.squared_relu": "squared ReLU",
    "nemo.collections.llm.fn.activation.quick_gelu": "quick GELU",
    "megatron.core.activations." + "quick_gelu": "quick GELU",  # Megatron Core has it twice, and asks for the other
    "nemo.collections.llm.gpt.model.ssm.NemotronHConfigBase.<lambda>": "squared ReLU",
}


class Meaning:
    """A configuration while it is worked out; filled by the rules.

    Attributes:
        stated: setting to its line.
        values: setting to its effective value: stated, else NeMo's default.
        derived: what the rules made.
        replaced: setting to what takes its place.
    """

    def __init__(self, run: Run, schema: Schema) -> None:
        self.run, self.schema, self.bridge = run, schema, schema.version
        self.stated = {line.name: line for line in run.lines}
        self.defaults = dict(run.defaults)
        self.values: dict[str, Any] = {**run.defaults, **{line.name: line.value for line in run.lines}}
        self.derived: dict[str, Derived] = {}
        self.replaced: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.ranks: int | None = None
        self.model_class = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def has(self, role: str) -> bool:
        """Is there an object with names that begin so?"""
        return any(name.startswith(f"{role}.") for name in self.values)

    def derive(self, name: str, value: Any, *inputs: str) -> None:
        self.derived[name] = Derived(value, tuple(one for one in inputs if self.values.get(one) is not None))

    def lost(self, name: str, why: str, changes: Changes = "numbers") -> None:
        line = self.stated.get(name)
        value = f" = {shown(self.values[name])}" if name in self.values else ""
        message = f"{name}{value} is lost: {why} This changes {CHANGES[changes]}."
        self.findings.append(
            Finding("no-equivalent", message, arguments=(name,), place=line.place if line else None, changes=changes)
        )

    def tell(self, kind: str, name: str, message: str, remedy: str = "") -> None:
        line = self.stated.get(name)
        self.findings.append(Finding(kind, message, remedy, (name,), line.place if line else None))

    def refuse(self, name: str, message: str) -> None:
        self.tell("bridge-rejects", name, message)

    def check(self, line: Stated, usual: Any) -> None:
        """A text where NeMo has a number, or yes and no."""
        if isinstance(line.value, str) and isinstance(usual, (bool, int, float)):
            kind = "true or false" if isinstance(usual, bool) else "a number"
            self.tell("bad-value", line.name, f"{line.name} takes {kind}, not {line.value[:80]!r}")

    def field(self, name: str) -> Any:
        """The field of the model's class that a setting goes to under its own name."""
        return self.schema.find(name, {"model": self.model_class})

    def fitting(self, value: Any) -> Any:
        """The value with Bridge's functions in place of NeMo's, and members of enums by name."""
        if isinstance(value, Symbol) and value.path in _FUNCTIONS:
            return Symbol(name_of(_FUNCTIONS[value.path], self.bridge))
        if isinstance(value, str) and value in _FUNCTIONS:
            return Symbol(name_of(_FUNCTIONS[value], self.bridge))
        if isinstance(value, Member) and not value.name:
            names = self.schema.enums.get(value.enum, {})
            found = next((one for one, number in names.items() if number == value.value), None)
            return Member(value.enum, found, value.value) if found else value.value
        if isinstance(value, list):
            return [self.fitting(one) for one in value]
        return value


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
