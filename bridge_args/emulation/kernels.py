"""Compiled extensions in plain PyTorch, and two places in Megatron Core that need help without a GPU.

The kernels are installed only where the extension is missing, and compute what the extension computes; they let
configurations run that Megatron Core otherwise refuses for want of the extension.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any

from bridge_args.emulation.placeholders import is_missing
from bridge_args.emulation.replacement import Replacement


def install(*, apex_layer_norm: bool) -> list[Replacement]:
    """Puts stand-ins for missing extensions into ``sys.modules``; returns those it made."""
    replaced = []
    if is_missing("fused_weight_gradient_mlp_cuda"):
        _weight_gradient()
        replaced.append(Replacement("Apex's gradient accumulation fusion", "a matrix product, then a sum"))
    if is_missing("scaled_masked_softmax_cuda"):
        _softmax()
        replaced.append(Replacement("Apex's fused scale-mask-softmax kernels", "torch.softmax in fp32"))
    if apex_layer_norm and is_missing("apex"):
        _layer_norm()
        replaced.append(Replacement("Apex's fused layer norm", "torch.nn.functional.layer_norm"))
    return replaced


def patch_megatron_core() -> None:
    """After the emulation is installed, before training: two spots that assume a source tree or Transformer Engine."""
    data_utils = importlib.import_module("megatron.core.datasets.utils")
    if importlib.util.find_spec("megatron.core.datasets.helpers_cpp"):
        # the wheel has the compiled index builder and no Makefile; compile_helpers() would call make and exit
        setattr(data_utils, "compile_helpers", lambda: None)
    moe_utils = importlib.import_module("megatron.core.transformer.moe.moe_utils")
    if not hasattr(moe_utils, "te_general_gemm"):
        # a name its guarded import does not bind; with None the router takes the fallback written right there
        setattr(moe_utils, "te_general_gemm", None)


def add_module(name: str, *, package: bool = False, **attributes: Any) -> types.ModuleType:
    """A new module in ``sys.modules`` and, for ``a.b``, as attribute of ``a``."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=package)
    if package:
        module.__path__ = []
    module.__dict__.update(attributes)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _weight_gradient() -> None:
    def accumulate(activation: Any, grad_output: Any, main_grad: Any) -> None:
        main_grad.add_(grad_output.t().matmul(activation))

    add_module("fused_weight_gradient_mlp_cuda", wgrad_gemm_accum_fp32=accumulate, wgrad_gemm_accum_fp16=accumulate)


def _softmax() -> None:
    """Softmax of scale * x under a mask, in fp32, the result in the type of x."""
    torch = importlib.import_module("torch")

    def masked(x: Any, mask: Any, scale: Any) -> Any:
        return torch.softmax((x.float() * float(scale)).masked_fill(mask, -10000.0), dim=-1).to(x.dtype)

    def unmasked(x: Any, scale: Any) -> Any:
        return torch.softmax(x.float() * float(scale), dim=-1).to(x.dtype)

    def causal(x: Any, scale: Any) -> Any:
        future = torch.ones(*x.shape[-2:], dtype=torch.bool).triu(1)
        return torch.softmax((x.float() * float(scale)).masked_fill(future, float("-inf")), dim=-1).to(x.dtype)

    def backward(grad: Any, result: Any, scale: Any) -> Any:
        g, s = grad.float(), result.float()
        return ((g - (g * s).sum(-1, keepdim=True)) * s * float(scale)).to(grad.dtype)

    forwards = {
        "scaled_upper_triang_masked_softmax_cuda": causal,
        "scaled_masked_softmax_cuda": masked,
        "scaled_softmax_cuda": unmasked,
    }
    for name, forward in forwards.items():
        add_module(name, forward=forward, backward=backward, get_batch_per_block=lambda *sizes: 1)


def _layer_norm() -> None:
    functional = importlib.import_module("torch.nn.functional")

    class FusedLayerNormAffineFunction:
        """Called through ``apply`` only, as an autograd function is."""

        @staticmethod
        def forward(*args: Any) -> Any:
            raise NotImplementedError

        @staticmethod
        def apply(x: Any, weight: Any, bias: Any, shape: Any, eps: float, memory_efficient: bool = False) -> Any:
            return functional.layer_norm(x, shape, weight, bias, eps)

    add_module("apex", package=True)
    add_module("apex.normalization", package=True)
    add_module("apex.normalization.fused_layer_norm", FusedLayerNormAffineFunction=FusedLayerNormAffineFunction)
