"""How weights start, where it is not the normal distribution."""

from __future__ import annotations

from typing import Any

from bridge_args.mapping.sections.registry import builder
from bridge_args.values import Symbol


@builder(writes=("model.init_method", "model.output_layer_init_method"))
def initialization(init_method_xavier_uniform: bool) -> dict[str, Any]:
    """One function for all weights. See megatron/training/arguments.py core_transformer_config_from_args."""
    if not init_method_xavier_uniform:
        return {}
    xavier = Symbol("torch.nn.init.xavier_uniform_")
    return {"model.init_method": xavier, "model.output_layer_init_method": xavier}
