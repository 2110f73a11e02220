"""Importing and validating Bridge's configuration on a machine with no GPU and no Transformer Engine.

Two context managers, each a no-op where the real thing is there:

* ``absent_packages()`` around imports of ``megatron.bridge``: some of its modules and of Megatron Core's, in every
  version others, import GPU-only packages without a guard. Exactly those get a placeholder (``unguarded.py``).
* ``gpu_machine()`` around validation: Bridge asks for the compute capability and the Transformer Engine version
  of the machine it will train on, and inspects the signature of Transformer Engine's ``FusedAdam``.

Neither leaves a package in ``sys.modules``. Megatron Core decides by ``import transformer_engine`` which layers it
builds, so a placeholder that stays would change what a later training run in the same process computes.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge_args.emulation.unguarded import is_awaited
from bridge_args.newer_python import add_what_is_missing

# Packages for GPUs that modules of Megatron Core and Bridge import without a guard.
PACKAGES: Final = ("transformer_engine", "triton")

# The machine validation imagines: an H100 with the oldest Transformer Engine that Bridge 0.3 accepts
# (`transformer-engine >= 2.10.0a0` in its requirements).
CAPABILITY: Final = (9, 0)
DEVICE_NAME: Final = "NVIDIA H100 80GB HBM3"
TRANSFORMER_ENGINE: Final = "2.10.0"
TRITON: Final = "3.5.0"  # as torch 2.9 brings along

# Functions of Transformer Engine that TransformerConfig.__post_init__ wants to be there for apply_rope_fusion and
# moe_permute_fusion; Megatron Core has None, or no such name, where the import failed.
FUSED: Final[dict[str, tuple[str, ...]]] = {
    "megatron.core.models.common.embeddings.rope_utils": (
        "fused_apply_rotary_pos_emb",
        "fused_apply_rotary_pos_emb_thd",
    ),
    "megatron.core.transformer.moe.moe_utils": (
        "fused_permute",
        "fused_permute_with_probs",
        "fused_sort_chunks_by_index",
        "fused_sort_chunks_by_index_with_probs",
        "fused_unpermute",
    ),
}


def is_missing(package: str) -> bool:
    """The package is neither imported nor installed."""
    return sys.modules.get(package) is None and importlib.util.find_spec(package) is None


class _PlaceholderMeta(type):
    """Attributes of a placeholder are placeholders; it can stand in a union type."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _placeholder(f"{cls.__name__}.{name}")

    def __or__(cls, other: object) -> Any:
        return object

    __ror__ = __or__


def _placeholder(name: str) -> Any:
    """A class for annotations, ``isinstance`` and decorators; creating one says which package is missing."""

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise RuntimeError(f"{name} is not installed on this machine")

    return _PlaceholderMeta(name, (), {"__init__": refuse})


class _PlaceholderModule(types.ModuleType):
    """A module in which every name exists: submodules are given, everything else is a placeholder class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _placeholder(f"{self.__name__}.{name}")


class _Triton(_PlaceholderModule):
    """Kernels are compiled when called, which never happens here: the decorators hand back the function."""

    @staticmethod
    def jit(function: Any = None, **options: object) -> Any:
        return function if function is not None else (lambda f: f)

    @staticmethod
    def autotune(*args: object, **kwargs: object) -> Any:
        return lambda function: function

    heuristics = autotune


def _packages() -> dict[str, types.ModuleType]:
    """The placeholder packages, by name, with the submodules that importers name."""
    engine = _PlaceholderModule("transformer_engine")
    pytorch = _PlaceholderModule("transformer_engine.pytorch")
    setattr(pytorch, "module", _PlaceholderModule("transformer_engine.pytorch.module"))
    setattr(engine, "pytorch", pytorch)
    triton = _Triton("triton")
    setattr(triton, "__version__", TRITON)
    setattr(triton, "language", _PlaceholderModule("triton.language"))
    return {"transformer_engine": engine, "triton": triton}


@contextlib.contextmanager
def absent_packages() -> Iterator[None]:
    """Lets ``megatron.bridge`` be imported inside; placeholders are seen where nobody waits for the import to fail."""
    add_what_is_missing()
    missing = set(filter(is_missing, PACKAGES))
    if not missing:
        yield
        return
    packages, original = _packages(), builtins.__import__

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        package, *rest = name.split(".")
        importer = str(globals.get("__name__")) if globals else ""
        ours = level == 0 and package in missing and importer.startswith("megatron.")
        if ours and not is_awaited(sys._getframe(1)):
            module: Any = packages[package]
            if fromlist:  # `from a.b import c` wants a.b; `import a.b as c` wants a, then looks up b
                for part in rest:
                    module = getattr(module, part)
            return module
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = import_
    try:
        yield
    finally:
        builtins.__import__ = original


@contextlib.contextmanager
def gpu_machine() -> Iterator[None]:
    """Answers Bridge's questions about the machine it will train on, inside only.

    ``torch`` and ``megatron.core`` are imported by this; import them under ``absent_packages`` first.
    """
    with contextlib.ExitStack() as stack:
        if not importlib.import_module("torch").cuda.is_available():
            stack.enter_context(_cuda_questions())
        if is_missing("transformer_engine"):
            stack.enter_context(_transformer_engine_questions())
        yield


@contextlib.contextmanager
def _cuda_questions() -> Iterator[None]:
    """Compute capability and name: the flexible MoE dispatcher and some fusions depend on them."""
    cuda = importlib.import_module("torch").cuda
    properties = types.SimpleNamespace(
        major=CAPABILITY[0], minor=CAPABILITY[1], name=DEVICE_NAME, total_memory=80 << 30, multi_processor_count=132
    )
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 8,
        "current_device": lambda: 0,
        "get_device_capability": lambda *args, **kwargs: CAPABILITY,
        "get_device_name": lambda *args, **kwargs: DEVICE_NAME,
        "get_device_properties": lambda *args, **kwargs: properties,
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(replaced(cuda, name, answer))
        yield


@contextlib.contextmanager
def _transformer_engine_questions() -> Iterator[None]:
    """Version, presence, and the parameters of FusedAdam that ``--use-precision-aware-optimizer`` looks for."""
    optimizers = types.ModuleType("transformer_engine.pytorch.optimizers")
    setattr(optimizers, "FusedAdam", FusedAdam)
    with contextlib.ExitStack() as stack:
        stack.enter_context(fused_functions())
        overlap = importlib.import_module("megatron.bridge.training.comm_overlap")
        stack.enter_context(replaced(overlap, "HAVE_TE", True))
        for name in ("transformer_engine", "transformer_engine.pytorch"):
            stack.enter_context(_module_in_place(name, _package(name)))
        stack.enter_context(_module_in_place(optimizers.__name__, optimizers))
        yield


@contextlib.contextmanager
def fused_functions() -> Iterator[None]:
    """Transformer Engine is recent and has its fused functions, inside: for models that are built and never run.

    A configuration that is saved keeps its choices so; nothing of it is switched off for want of a GPU.
    """
    from packaging.version import Version

    with contextlib.ExitStack() as stack:
        core = importlib.import_module("megatron.core.utils")
        # get_te_version() answers with this global when it is set
        stack.enter_context(replaced(core, "_te_version", Version(TRANSFORMER_ENGINE)))
        for module_name, names in FUSED.items():
            module = importlib.import_module(module_name)
            for name in names:
                if getattr(module, name, None) is None:
                    stack.enter_context(replaced(module, name, _placeholder(name)))
        yield


class FusedAdam:
    """Has the parameters of Transformer Engine's FusedAdam; only its signature is looked at."""

    def __init__(
        self,
        params: object,
        *,
        master_weight_dtype: object = None,
        exp_avg_dtype: object = None,
        exp_avg_sq_dtype: object = None,
        use_decoupled_grad: bool = False,
        store_param_remainders: bool = False,
    ) -> None:
        raise RuntimeError("transformer_engine is not installed on this machine")


def _package(name: str) -> types.ModuleType:
    package = types.ModuleType(name)
    package.__path__ = []
    setattr(package, "__version__", TRANSFORMER_ENGINE)
    return package


@contextlib.contextmanager
def _module_in_place(name: str, module: types.ModuleType) -> Iterator[None]:
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


@contextlib.contextmanager
def replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    """``holder.name`` is ``value`` inside; afterwards it is what it was, or is not there."""
    before = getattr(holder, name, _NOT_THERE)
    setattr(holder, name, value)
    try:
        yield
    finally:
        if before is _NOT_THERE:
            delattr(holder, name)
        else:
            setattr(holder, name, before)


_NOT_THERE: Final = object()
