"""A recipe in YAML, as NeMo-Run writes it: ``_target_`` names a class, ``_partial_`` and ``_call_`` how it is used."""

from __future__ import annotations

from typing import Any, Final

from bridge_args.source.nemo2.objects import Given, Made, Nemo2Problem, checked, symbol
from bridge_args.source.yaml.nodes import Mapping, Node, Scalar, entries, read
from bridge_args.source.yaml.plain import Values

_MOST: Final = 50_000  # values, each as often as it is named
_MARKS: Final = ("_target_", "_partial_", "_call_", "_args_")
_FACTORY: Final = "_factory_"


def read_yaml(text: str, name: str) -> Made:
    """The object that a YAML file describes.

    Raises:
        Nemo2Problem: it is no such file, or names what no configuration of NeMo has.
        YamlProblem: it is not YAML, or larger or deeper than a configuration is.
    """
    node = read(text, name)
    made = _Reader(name).of(node) if node is not None else None
    if not isinstance(made, Made):
        raise Nemo2Problem(f"{name} is no recipe of NeMo 2.0: it has no _target_ at its top")
    return made


class _Reader(Values):
    """Nodes -> objects; counts them."""

    most, texts, problem = _MOST, (*Values.texts, "timestamp"), Nemo2Problem

    def of(self, node: Node) -> Any:
        if not isinstance(node, Mapping):
            return super().of(node)
        self.count()
        pairs = {key.text: (key, value) for key, value in entries(node)}
        if _FACTORY in pairs:
            key, value = pairs[_FACTORY]
            shown = value.text if isinstance(value, Scalar) else "..."
            raise Nemo2Problem(
                f"{key.place}: {_FACTORY}: {shown} names a function that only NeMo can run; write the configuration "
                "out with NeMo (--to-yaml FILE), and give that file"
            )
        if "_target_" not in pairs:
            return {text: self.of(value) for text, (_, value) in pairs.items()}
        return self.made(node, pairs)

    def made(self, node: Mapping, pairs: dict[str, tuple[Scalar, Node]]) -> Any:
        target = checked(self.of(pairs["_target_"][1]), pairs["_target_"][0].place)
        called = self.of(pairs["_call_"][1]) if "_call_" in pairs else True
        given = {
            text: Given(self.of(value), f"{text}: {_shown(value)}", key.place)
            for text, (key, value) in pairs.items()
            if text not in _MARKS
        }
        if called is False and not given:
            return symbol(target)
        if "_args_" in pairs:
            key, value = pairs["_args_"]
            given["_args_"] = Given(self.of(value), f"_args_: {_shown(value)}", key.place)
        return Made(target, given, node.place)


def _shown(node: Node, deepest: int = 2) -> str:
    """A value in one line; of what is larger only a mark."""
    if isinstance(node, Scalar):
        return node.text if node.tag != "null" else "null"
    if isinstance(node, Mapping):
        target = next((value for key, value in node.pairs if key.text == "_target_"), None)
        return target.text.rpartition(".")[2] if isinstance(target, Scalar) else "{...}"
    if not deepest or len(node.items) > 20:
        return "[...]"
    return f"[{', '.join(_shown(one, deepest - 1) for one in node.items)}]"
