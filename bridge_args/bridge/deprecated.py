"""Settings that a version of Bridge still has and wants to be rid of: the default of an argument never goes there.

Read in the sources of Bridge and of the Megatron Core it is made with, which say so of the field.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from bridge_args.versions import Versions, holds

# Setting: since when, and where it is said.
DEPRECATED: Final = {
    "model.moe_deepep_num_sms": (">=0.6", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "model.moe_hybridep_num_sms": (">=0.6", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "model.cuda_graph_scope": (">=0.5", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "model.enable_cuda_graph": (">=0.3", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "model.external_cuda_graph": (">=0.3", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "model.mtp_hybrid_override_pattern": (">=0.4", "megatron/core/transformer/transformer_config.py TransformerConfig"),
    "train.rampup_batch_size": (">=0.5", "megatron/training/config/training_config.py TrainingConfig"),
    "train.eval_iters": (">=0.4", "megatron/bridge/training/config.py TrainingConfig"),
    "train.eval_interval": (">=0.4", "megatron/bridge/training/config.py TrainingConfig"),
    "train.skip_train": (">=0.4", "megatron/bridge/training/config.py TrainingConfig"),
}


@lru_cache(maxsize=None)
def deprecated(bridge: str) -> frozenset[str]:
    """The deprecated settings of a version of Bridge."""
    pair = Versions("0", bridge)
    return frozenset(path for path, (since, _) in DEPRECATED.items() if holds(f"bridge {since}", pair))
