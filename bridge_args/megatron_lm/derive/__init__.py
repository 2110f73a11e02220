"""Derived values, a module an area; what they have in common is in ``registry.py``.

Each registers its functions when it is imported, here.
"""

from bridge_args.megatron_lm.derive import (
    attention as attention,
)
from bridge_args.megatron_lm.derive import (
    attention_layers as attention_layers,
)
from bridge_args.megatron_lm.derive import (
    attention_variants as attention_variants,
)
from bridge_args.megatron_lm.derive import (
    batch as batch,
)
from bridge_args.megatron_lm.derive import (
    checkpointing as checkpointing,
)
from bridge_args.megatron_lm.derive import (
    cuda_graphs as cuda_graphs,
)
from bridge_args.megatron_lm.derive import (
    data as data,
)
from bridge_args.megatron_lm.derive import (
    expert_layers as expert_layers,
)
from bridge_args.megatron_lm.derive import (
    fsdp as fsdp,
)
from bridge_args.megatron_lm.derive import (
    heterogeneous as heterogeneous,
)
from bridge_args.megatron_lm.derive import (
    hybrid as hybrid,
)
from bridge_args.megatron_lm.derive import (
    hybrid_layers as hybrid_layers,
)
from bridge_args.megatron_lm.derive import (
    inference as inference,
)
from bridge_args.megatron_lm.derive import (
    model as model,
)
from bridge_args.megatron_lm.derive import (
    moe as moe,
)
from bridge_args.megatron_lm.derive import (
    offloading as offloading,
)
from bridge_args.megatron_lm.derive import (
    optimizer as optimizer,
)
from bridge_args.megatron_lm.derive import (
    overlap as overlap,
)
from bridge_args.megatron_lm.derive import (
    parallelism as parallelism,
)
from bridge_args.megatron_lm.derive import (
    pipeline as pipeline,
)
from bridge_args.megatron_lm.derive import (
    precision as precision,
)
from bridge_args.megatron_lm.derive import (
    recompute as recompute,
)
from bridge_args.megatron_lm.derive import (
    reinforcement as reinforcement,
)
from bridge_args.megatron_lm.derive import (
    retired as retired,
)
from bridge_args.megatron_lm.derive import (
    scheduler as scheduler,
)
from bridge_args.megatron_lm.derive import (
    set_up as set_up,
)
