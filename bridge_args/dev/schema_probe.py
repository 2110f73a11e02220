"""Run in a process of its own: describes the installed Megatron Bridge's ConfigContainer and all its classes.

``python -m bridge_args.dev.schema_probe OUTPUT`` writes the content of a schema file as JSON. Everything is read from
the live classes; packages that need a GPU to be installed are replaced by placeholders where they are absent.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import json
import pathlib
import pkgutil
import sys
import types
import typing
from typing import Any, Final

from bridge_args.checkout.placeholders import stand_in
from bridge_args.newer_python import add_what_is_missing

_STAND_INS: Final = {"transformer_engine": "2.12.0", "triton": "0"}
# The same schema whether or not these are installed. modelopt registers classes of Transformer Engine's, which a
# placeholder has none of; no setting is of a class of either.
_NEVER_IMPORTED: Final = {"modelopt": "0", "megatron.energon": "7.0.0"}
_CONTAINER: Final = "megatron.bridge.training.config.ConfigContainer"
# Model families (Llama, Qwen, ...) are values for a generic model; these are generic and not in the annotation.
_GENERIC_MODELS: Final = (
    "megatron.bridge.models.transformer_config.HeterogeneousTransformerConfig",
    "megatron.bridge.models.transformer_config.MLATransformerConfig",
    "megatron.core.transformer.heterogeneous.heterogeneous_config.HeterogeneousTransformerConfig",
    "megatron.core.transformer.transformer_config.MLATransformerConfig",
    "megatron.bridge.models.mamba.mamba_provider.MambaModelProvider",
    "megatron.bridge.models.mla_provider.MLAModelProvider",
)


def main(argv: list[str]) -> None:
    """See the module's text."""
    import torch._inductor.runtime.triton_heuristics  # noqa: F401  (settles for no triton before the placeholder)

    add_what_is_missing()
    stand_in(_STAND_INS)
    stand_in(_NEVER_IMPORTED, always=True)
    import megatron.bridge
    import megatron.core

    for module in pkgutil.walk_packages(megatron.bridge.__path__, "megatron.bridge.", onerror=lambda name: None):
        try:
            importlib.import_module(module.name)
        except Exception as problem:  # a module whose packages are not there declares no class of ours
            print(f"{module.name}: {problem!r}", file=sys.stderr)
    described = _Description().described(_load(_CONTAINER))
    # Core adds the commit of the repository that it lies in, be it that of an environment's.
    packages = {"version": megatron.bridge, "core": megatron.core}
    versions = {name: package.__version__.partition("+")[0] for name, package in packages.items()}
    pathlib.Path(argv[0]).write_text(json.dumps({**versions, **described}))


class _Description:
    """Collects classes and enums on the way."""

    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}
        self.enums: dict[str, dict[str, Any]] = {}

    def described(self, container: type) -> dict[str, Any]:
        hints = _hints(container)
        sections = {}
        for field in dataclasses.fields(container):
            accepted = _accepted(_dataclasses_in(hints[field.name]))
            sections[field.name] = self._section(field, hints[field.name], accepted)
            self._follow(accepted)
        recipes = _load("megatron.bridge.training.mixed_precision.MIXED_PRECISION_RECIPES")
        return {
            "container": _CONTAINER,
            "sections": sections,
            "classes": self.classes,
            "enums": self.enums,
            "presets": {name: self._values(recipe()) for name, recipe in recipes.items()},
        }

    def _section(self, field: dataclasses.Field[Any], hint: Any, accepted: list[type]) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": type_text(hint)}
        factory: Any = field.default_factory
        if isinstance(factory, type) and dataclasses.is_dataclass(factory):
            entry["default_class"] = _name(factory)
        if accepted:
            entry["classes"] = [_name(cls) for cls in accepted]
        if type(None) in typing.get_args(hint):
            entry["optional"] = True
        if _is_required(field):
            entry["required"] = True
        elif "default_class" not in entry and (default := _default(field)) is not None:
            entry["default"] = self._plain(default)
        if not field.init:
            entry["init"] = False
        return entry

    def _follow(self, accepted: list[type]) -> None:
        """These classes, and those their fields are made of."""
        todo = list(accepted)
        while todo:
            cls = todo.pop(0)
            if _name(cls) in self.classes:
                continue
            self.classes[_name(cls)] = self._fields(cls)
            hints = _hints(cls)
            for field in dataclasses.fields(cls):
                for part in _dataclasses_in(hints[field.name]):
                    todo += _accepted([part])

    def _fields(self, cls: type) -> dict[str, Any]:
        hints = _hints(cls)
        declared = {field.name: self._field(field, hints[field.name]) for field in dataclasses.fields(cls)}
        parameters: dict[str, dict[str, Any]] = {}
        for name, (parameter, hint) in _constructor(cls).items():
            if name in declared:
                continue
            parameters[name] = {"type": type_text(hint)}
            if parameter.default is parameter.empty:
                parameters[name]["required"] = True
            elif parameter.default is not None:
                parameters[name]["default"] = self._plain(parameter.default)
            parameters[name]["declared"] = False
        both = {**parameters, **declared}
        if "seq_length" in both and "sequence_length" in both:  # two names of one thing; the first is the one to give
            length = both["sequence_length"]
            length.pop("required", None)
            if "seq_length" in parameters:
                both["seq_length"] = {"type": length["type"], "required": True, "declared": False}
        return both

    def _field(self, field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": type_text(hint)}
        default = None
        if _is_required(field):
            entry["required"] = True
        elif (default := _default(field)) is not None:
            entry["default"] = self._plain(default)
        if not field.init:
            entry["init"] = False
        if _asks_the_machine(field.default_factory):
            entry["environment"] = True
        if choices := _choices(hint):
            entry["choices"] = choices
        members = [part for part in _parts(hint) if isinstance(part, type) and issubclass(part, enum.Enum)]
        if not members and isinstance(default, enum.Enum):
            members = [type(default)]
        for cls in members:
            self._know(cls)
        if members:
            entry["enum"] = _name(members[0])
        return entry

    def _know(self, cls: type[enum.Enum]) -> None:
        self.enums[_name(cls)] = {member.name: member.value for member in cls}

    def _values(self, instance: Any) -> dict[str, Any]:
        return {field.name: self._plain(getattr(instance, field.name)) for field in dataclasses.fields(instance)}

    def _plain(self, value: Any) -> Any:
        """As ``bridge_args.values.to_plain`` writes it."""
        import torch

        if isinstance(value, enum.Enum):
            self._know(type(value))
            return {"_target_": _name(type(value)), "_call_": True, "_args_": [value.value]}
        if isinstance(value, torch.dtype):
            return {"_target_": str(value), "_call_": False}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"_target_": _name(type(value)), **self._values(value)}
        if isinstance(value, (set, frozenset)):
            return sorted(self._plain(item) for item in value)
        if isinstance(value, (list, tuple)):
            return [self._plain(item) for item in value]
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        if callable(value):
            module = inspect.getmodule(value)
            home = module.__name__ if module else value.__module__
            return {"_target_": f"{home}.{value.__qualname__}", "_call_": False}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"a schema has no word for {value!r}")


def type_text(hint: Any) -> str:
    """An annotation as text: ``int | None``, ``list[str]``, ``Literal['a', 'b']``, classes by their qualified name."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None) or hint is None:
        return "None"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_text(part) for part in arguments)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if isinstance(hint, list):
        return f"[{', '.join(map(type_text, hint))}]"
    if origin is not None and arguments:
        return f"{_bare(origin)}[{', '.join(map(type_text, arguments))}]"
    if isinstance(hint, (str, typing.ForwardRef)):
        return hint if isinstance(hint, str) else hint.__forward_arg__
    if hint is Ellipsis:
        return "..."
    return _bare(origin or hint)


def _bare(hint: Any) -> str:
    module, name = getattr(hint, "__module__", None), getattr(hint, "__qualname__", None) or str(hint)
    if module in ("builtins", "typing", "collections.abc", None) or inspect.isroutine(hint):
        return name.rsplit(".", 1)[-1]
    return f"{module}.{name}"


def _parts(hint: Any) -> list[Any]:
    """The annotation's innermost parts, left to right."""
    if typing.get_origin(hint) is typing.Literal:
        return []
    inner = hint if isinstance(hint, list) else typing.get_args(hint)
    return [part for item in inner for part in _parts(item)] if inner else [hint]


def _dataclasses_in(hint: Any) -> list[type]:
    """Bridge's and Megatron Core's dataclasses in an annotation."""
    return [
        part
        for part in _parts(hint)
        if isinstance(part, type) and dataclasses.is_dataclass(part) and part.__module__.startswith("megatron.")
    ]


def _accepted(declared: list[type]) -> list[type]:
    """Concrete classes an annotation lets in: those it names, then those derived from them by name."""
    derived = sorted({sub for cls in declared for sub in _below(cls)}, key=_name)
    return [cls for cls in dict.fromkeys([*declared, *derived]) if not inspect.isabstract(cls)]


def _below(cls: type) -> list[type]:
    model = _load("megatron.core.model_parallel_config.ModelParallelConfig")
    found: list[type] = []
    below: list[type] = type.__subclasses__(cls)
    for sub in below:
        found += _below(sub)
        own = sub.__module__.startswith("megatron.bridge.") and not issubclass(sub, model)
        if dataclasses.is_dataclass(sub) and (own or _name(sub) in _GENERIC_MODELS):
            found.append(sub)
    return found


def _constructor(cls: type) -> dict[str, tuple[inspect.Parameter, Any]]:
    """The parameters of hand-written constructors, following ``**kwargs`` upwards to the generated one."""
    found: dict[str, tuple[inspect.Parameter, Any]] = {}
    for base in cls.__mro__:
        function = base.__dict__.get("__init__")
        if function is None:
            continue
        if not inspect.isfunction(function) or function.__code__.co_filename == "<string>":  # made by dataclasses
            break
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, (parameter, hints.get(parameter.name, Any)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return None if value is dataclasses.MISSING else value


def _asks_the_machine(factory: Any) -> bool:
    """A factory that looks at the environment or at what is installed, rather than making a constant."""
    if not inspect.isfunction(factory):
        return False
    return factory.__name__ != "<lambda>" or "os" in factory.__code__.co_names


def _choices(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    inner = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    return [choice for part in inner for choice in _choices(part)]


def _hints(cls: type) -> dict[str, Any]:
    """Resolved annotations of the fields. Where several bases declare a field, dataclasses and ``get_type_hints``
    choose differently; it is the one that came with the default that counts."""
    hints = {}
    for field in dataclasses.fields(cls):
        owner = next(
            base
            for base in cls.__mro__
            if field.name in base.__dict__.get("__annotations__", {})
            and base.__dict__.get("__dataclass_fields__", {}).get(field.name) is field
        )
        hints[field.name] = _resolved(owner)[field.name]
    return hints


@functools.cache
def _resolved(cls: type) -> dict[str, Any]:
    """Names that are imported for type checking only stay names."""
    known: dict[str, Any] = {}
    for _ in range(50):
        try:
            return typing.get_type_hints(cls, localns=known)
        except NameError as unknown:
            name = str(unknown.name)
            known[name] = typing.ForwardRef(name)
    raise TypeError(f"{_name(cls)}: annotations cannot be resolved")


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main(sys.argv[1:])
