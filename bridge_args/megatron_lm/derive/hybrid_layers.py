"""What hybrid models stop at when their layers are laid out or built; ``validate_args`` lets it pass.

The facts are Megatron Core's, so Bridge stops at the same place.
"""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import Problems, checks, flag, later
from bridge_args.megatron_lm.programs import HYBRID_MODELS

LAYOUT = "ssm/mamba_hybrid_layer_allocation.py"
MIXER = "ssm/mamba_mixer.py MambaMixer.__init__"
SPLIT = "ssm/mamba_context_parallel.py MambaContextParallel.__init__"
LETTERS = {"M": "Mamba", "*": "attention", "-": "a feed-forward layer", "E": "experts"}


@checks(
    ">=0.12",
    see="megatron/core/ssm/mamba_hybrid_layer_allocation.py::allocate_layers",
    until="0.17",
    read=("0.16", "0.17"),
)
def pattern_of_layers(
    hybrid_override_pattern: str | None,
    hybrid_attention_ratio: float,
    hybrid_mlp_ratio: float,
    num_layers: int,
    program: str,
) -> Problems:
    """A letter for each layer, or shares of the kinds."""
    if program not in HYBRID_MODELS:
        return
    for name, share in (("hybrid_attention_ratio", hybrid_attention_ratio), ("hybrid_mlp_ratio", hybrid_mlp_ratio)):
        if not 0 <= share <= 1:
            yield later(f"{flag(name)} must be from 0 to 1, not {share}", "", (name,), f"{LAYOUT} allocate_layers")
            return
    if hybrid_attention_ratio + hybrid_mlp_ratio > 1:
        yield later(
            f"--hybrid-attention-ratio {hybrid_attention_ratio} and --hybrid-mlp-ratio {hybrid_mlp_ratio} are more "
            "than all layers together",
            "",
            ("hybrid_attention_ratio", "hybrid_mlp_ratio"),
            f"{LAYOUT} allocate_layers",
        )
    if hybrid_override_pattern is None:
        return
    if len(hybrid_override_pattern) != num_layers:
        yield later(
            f"--hybrid-override-pattern has {len(hybrid_override_pattern)} letters, but --num-layers is {num_layers}",
            "write a letter for each layer",
            ("hybrid_override_pattern", "num_layers"),
            f"{LAYOUT} allocate_layers",
        )
    if unknown := sorted(set(hybrid_override_pattern) - set(LETTERS)):
        yield later(
            f"--hybrid-override-pattern has {' '.join(unknown)}, which is no layer type",
            "write " + ", ".join(f"{letter} for {kind}" for letter, kind in LETTERS.items()),
            ("hybrid_override_pattern",),
            f"{LAYOUT} allocate_layers",
        )


@checks(
    ">=0.12",
    see=(
        "megatron/core/ssm/mamba_mixer.py::MambaMixer.__init__",
        "megatron/core/ssm/mamba_context_parallel.py::MambaContextParallel.__init__",
    ),
)
def sizes_of_mamba(
    hybrid_override_pattern: str | None,
    hybrid_layer_pattern: str | None,
    hybrid_attention_ratio: float | None,
    hybrid_mlp_ratio: float | None,
    hidden_size: int,
    mamba_state_dim: int | None,
    mamba_head_dim: int | None,
    mamba_num_groups: int | None,
    mamba_num_heads: int | None,
    tensor_model_parallel_size: int,
    context_parallel_size: int,
    program: str,
) -> Problems:
    """Heads and groups of Mamba layers among ranks."""
    if program not in HYBRID_MODELS or (hybrid_attention_ratio or 0) + (hybrid_mlp_ratio or 0) >= 1:
        return
    pattern = hybrid_layer_pattern or hybrid_override_pattern
    if pattern is not None and "M" not in pattern:
        return
    named = {
        "mamba_state_dim": mamba_state_dim,
        "mamba_head_dim": mamba_head_dim,
        "mamba_num_groups": mamba_num_groups,
        "mamba_num_heads": mamba_num_heads,
    }
    small = [name for name, size in named.items() if size is not None and size < 1]
    for name in small:
        yield later(f"{flag(name)} must be at least 1, not {named[name]}", "", (name,), MIXER)
    if small or not mamba_head_dim or not mamba_num_groups:
        return
    if mamba_num_heads is None and 2 * hidden_size % mamba_head_dim:
        yield later(
            f"2 x --hidden-size {hidden_size} is not a multiple of --mamba-head-dim {mamba_head_dim}",
            "choose another --mamba-head-dim, or set the number of heads with --mamba-num-heads",
            ("mamba_head_dim", "hidden_size"),
            MIXER,
        )
        return
    heads = mamba_num_heads or 2 * hidden_size // mamba_head_dim
    tensor, context = tensor_model_parallel_size, context_parallel_size
    said = f"{heads} heads of Mamba layers"
    name = "mamba_head_dim" if mamba_num_heads is None else "mamba_num_heads"
    if heads % tensor or mamba_num_groups % tensor:
        yield later(
            f"{said} and --mamba-num-groups {mamba_num_groups} cannot both be divided among tensor {tensor}",
            f"use multiples of {tensor}",
            (name, "mamba_num_groups", "tensor_model_parallel_size"),
            MIXER,
        )
    elif heads % mamba_num_groups:
        yield later(
            f"{said} cannot be divided among --mamba-num-groups {mamba_num_groups}",
            f"use a divisor of {heads} as the number of groups",
            (name, "mamba_num_groups"),
            MIXER,
        )
    elif context > 1 and (heads // tensor % context or _uneven(mamba_num_groups // tensor, context)):
        yield later(
            f"{said} and --mamba-num-groups {mamba_num_groups} cannot be divided among tensor {tensor} x context "
            f"{context}",
            f"use multiples of {tensor * context}",
            (name, "mamba_num_groups", "context_parallel_size"),
            SPLIT,
        )


def _uneven(groups: int, ranks: int) -> bool:
    return max(groups, ranks) % min(groups, ranks) != 0
