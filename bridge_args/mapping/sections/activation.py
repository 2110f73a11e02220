"""The activation function of the feed-forward layers."""

from __future__ import annotations

from typing import Any

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import builder
from bridge_args.values import Symbol


@builder(writes=("model.activation_func", "model.bias_activation_fusion", "model.gated_linear_unit"))
def activation(
    swiglu: bool,
    squared_relu: bool,
    quick_geglu: bool,
    bias_gelu_fusion: bool,
    bias_swiglu_fusion: bool,
    schema: Schema,
) -> dict[str, Any]:
    """The function, whether it is gated, and whether it is fused with the bias.

    See megatron/training/arguments.py core_transformer_config_from_args.
    """
    decided: dict[str, Any] = {"model.bias_activation_fusion": bias_swiglu_fusion if swiglu else bias_gelu_fusion}
    if squared_relu:
        decided["model.activation_func"] = Symbol(name_of("squared ReLU", schema.version))
    elif quick_geglu:
        decided["model.activation_func"] = Symbol(name_of("quick GELU", schema.version))
        decided["model.gated_linear_unit"] = True
    elif swiglu:
        decided["model.activation_func"] = Symbol("torch.nn.functional.silu")
        decided["model.gated_linear_unit"] = True
    return decided
