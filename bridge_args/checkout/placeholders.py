"""Importable nothing, in place of packages that need a GPU to be installed; enough to read declarations past them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Meta(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __getitem__(cls, item: Any) -> Any:
        return cls


class Anything(metaclass=_Meta):
    """Can be subclassed, called, subscripted, used as a decorator or in an annotation; does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else Anything()


class FusedAdam(Anything):
    """Transformer Engine's optimizer, of which ``OptimizerConfig`` wants to know the parameters."""

    def __init__(
        self,
        params: object = None,
        *,
        master_weight_dtype: object = None,
        exp_avg_dtype: object = None,
        exp_avg_sq_dtype: object = None,
        use_decoupled_grad: bool = False,
        store_param_remainders: bool = False,
    ) -> None:
        super().__init__()


class _Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return FusedAdam if name == "FusedAdam" else Anything


class _Finder(MetaPathFinder, Loader):
    def __init__(self, packages: dict[str, str]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        known = any(fullname == name or fullname.startswith(name + ".") for name in self.packages)
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Placeholder(spec.name)
        module.__dict__["__version__"] = next(
            version for name, version in self.packages.items() if (spec.name + ".").startswith(name + ".")
        )
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def stand_in(packages: dict[str, str] | Iterable[str], *, always: bool = False) -> None:
    """From now on these packages can be imported.

    Args:
        packages: names, or names with the version that ``__version__`` is to say (``0`` otherwise).
        always: also in place of one that is installed; otherwise that is imported as it is.
    """
    finder = _Finder(packages if isinstance(packages, dict) else dict.fromkeys(packages, "0"))
    sys.meta_path.insert(0 if always else len(sys.meta_path), finder)
