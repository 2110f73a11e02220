"""A stand-in for Transformer Engine in plain PyTorch, for rehearsals of configurations that ask for its layers.

Installed only where the configuration wants Transformer Engine and it is not installed, because its presence decides
which layers and which optimizer Megatron Core builds. It covers what Megatron Core 0.16 to 0.19 use without fp8, fp4,
communication overlap and CUDA graphs; the rest raises when it is used. Its numerics are PyTorch's, not those of
Transformer Engine's kernels.
"""

# PyTorch is not read by mypy here (pyproject.toml), so its classes and decorators are Any.
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from bridge_args.emulation import te_layers as layers
from bridge_args.emulation.fused_adam import FusedAdam
from bridge_args.emulation.kernels import add_module
from bridge_args.emulation.placeholders import is_missing
from bridge_args.emulation.replacement import Replacement
from bridge_args.emulation.te_layers import NotEmulated

# Megatron Core asks for features by version. This one has the layers above and not yet the interfaces to
# operator fusion and quantization that later versions are asked for.
VERSION: Final = "2.6.0"


def install() -> list[Replacement]:
    """Puts the stand-in into ``sys.modules``, if Transformer Engine is not installed."""
    if not is_missing("transformer_engine"):
        return []
    for name, content in _packages().items():
        add_module(name, package=True, **content)
    return [
        Replacement("Transformer Engine's layers", "the same layers in plain PyTorch", "no fp8, no fused kernels"),
        Replacement("Transformer Engine's FusedAdam", "the same update in plain PyTorch"),
    ]


def _packages() -> dict[str, dict[str, Any]]:
    """Module name to its content, parents before children."""
    te = "transformer_engine"
    rotary = {"apply_rotary_pos_emb": apply_rotary_pos_emb}
    return {
        te: {"__version__": VERSION},
        f"{te}.common": {},
        f"{te}.common.recipe": {
            "DelayedScaling": _refusing("fp8"),
            "Format": types.SimpleNamespace(E4M3="e4m3", HYBRID="hybrid"),
        },
        f"{te}.pytorch": {
            "LayerNorm": layers.LayerNorm,
            "RMSNorm": layers.RMSNorm,
            "Linear": layers.Linear,
            "LayerNormLinear": layers.LayerNormLinear,
            "GroupedLinear": layers.GroupedLinear,
            "DotProductAttention": layers.DotProductAttention,
            "TransformerLayer": _refusing("TransformerLayer", torch.nn.Module),
            "fp8_autocast": fp8_autocast,
            "fp8_model_init": fp8_model_init,
        },
        f"{te}.pytorch.fp8": {
            "FP8GlobalStateManager": FP8GlobalStateManager,
            "fp8_autocast": fp8_autocast,
            "fp8_model_init": fp8_model_init,
        },
        f"{te}.pytorch.distributed": {
            "CudaRNGStatesTracker": _refusing("CudaRNGStatesTracker"),
            "checkpoint": _refusing_function("checkpoint"),
            "activation_recompute_forward": activation_recompute_forward,
        },
        f"{te}.pytorch.optimizers": {
            "FusedAdam": FusedAdam,
            "FusedSGD": torch.optim.SGD,
            "multi_tensor_applier": multi_tensor_applier,
            "multi_tensor_l2norm": multi_tensor_l2norm,
            "multi_tensor_scale": multi_tensor_scale,
        },
        f"{te}.pytorch.tensor": {"QuantizedTensor": QuantizedTensor},
        f"{te}.pytorch.float8_tensor": {"Float8Tensor": QuantizedTensor},
        f"{te}.pytorch.attention": rotary,
        f"{te}.pytorch.attention.rope": rotary,
        f"{te}.pytorch.cross_entropy": {"parallel_cross_entropy": parallel_cross_entropy},
        f"{te}.pytorch.module": {},
        f"{te}.pytorch.ops": {name: _refusing(f"ops.{name}") for name in _OPERATIONS},
    }


_OPERATIONS: Final = (
    "Sequential FusibleOperation BasicLinear Bias LayerNorm RMSNorm ReduceScatter AllReduce "
    "GELU GEGLU SiLU SwiGLU ReLU ReGLU"
).split()


def _refusing(what: str, base: type = object) -> type:
    """A class that can be named and subclassed; creating one is refused."""

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise NotEmulated(what)

    return type(what.rsplit(".", 1)[-1], (base,), {"__init__": refuse})


def _refusing_function(what: str) -> Callable[..., None]:
    def refuse(*args: object, **kwargs: object) -> None:
        raise NotEmulated(what)

    return refuse


# -------------------------------------------------------------------------------------- fp8


class QuantizedTensor(torch.Tensor):
    """For ``isinstance``; there are none on the CPU."""


class FP8GlobalStateManager:
    @staticmethod
    def is_fp8_enabled() -> bool:
        return False

    @staticmethod
    def is_fp8_calibration() -> bool:
        return False


@contextlib.contextmanager
def fp8_autocast(enabled: bool = False, *args: object, **kwargs: object) -> Iterator[None]:
    if enabled:
        raise NotEmulated("fp8")
    yield


def fp8_model_init(enabled: bool = True, *args: object, **kwargs: object) -> contextlib.AbstractContextManager[None]:
    """Parameters are not made in fp8."""
    return fp8_autocast(enabled)


@contextlib.contextmanager
def activation_recompute_forward(*args: object, **kwargs: object) -> Iterator[None]:
    """Tells fp8 layers that activations are recomputed; there are none."""
    yield


# -------------------------------------------------------------------------------- functions


def apply_rotary_pos_emb(
    t: Any, freqs: Any, tensor_format: str = "sbhd", interleaved: bool = False, **ignored: object
) -> Any:
    from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd

    if tensor_format != "sbhd":
        raise NotEmulated("rotary embedding of packed sequences")
    return _apply_rotary_pos_emb_bshd(t, freqs, rotary_interleaved=interleaved)


def parallel_cross_entropy(
    logits: Any, labels: Any, label_smoothing: float = 0.0, reduce_loss: bool = False, *ignored: object
) -> Any:
    from megatron.core.tensor_parallel.cross_entropy import vocab_parallel_cross_entropy

    return vocab_parallel_cross_entropy(logits, labels.reshape(logits.shape[:-1]), label_smoothing)


def multi_tensor_applier(operation: Callable[..., Any], noop_flag: Any, tensors: Any, *args: Any) -> Any:
    return operation(2048 * 32, noop_flag, tensors, *args)


def multi_tensor_l2norm(chunk_size: int, noop_flag: Any, tensors: Any, per_tensor: bool, *args: Any) -> Any:
    norms = [tensor.float().norm() for group in tensors for tensor in group]
    total = torch.stack(norms).norm() if norms else torch.zeros(())
    return total.reshape(1), None


def multi_tensor_scale(chunk_size: int, noop_flag: Any, tensors: Any, scale: Any) -> None:
    for source, target in zip(*tensors, strict=True):
        target.copy_(source * scale if source.dtype == target.dtype else source.float() * scale)
