"""A hybrid model's layers as a pattern: shares of kinds, or the old name of the pattern, as ``--hybrid-layer-pattern``.

Verify: megatron/core/ssm/mamba_hybrid_layer_allocation.py of 0.16, _allocate_auto; and of 0.18
megatron/core/models/hybrid/hybrid_layer_allocation.py, pattern_from_ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.programs import HYBRID_MODELS
from bridge_args.modernize.items import Item, Proposal
from bridge_args.versions import number

SINCE: Final = "0.17"  # the first version that takes nothing but a pattern
_SAID: Final = ("hybrid_override_pattern", "hybrid_attention_ratio", "hybrid_mlp_ratio")
_WHY: Final = "--hybrid-layer-pattern says it"


def with_pattern(items: Sequence[Item], was: Translation, after: str) -> Proposal | None:
    """The command line of a hybrid model with a pattern; None where nothing has to change.

    Args:
        was: what it means to the earlier version.
        after: the later one.
    """
    args, dest = was.args, [item.dest for item in items]
    named = "hybrid_override_pattern" in dest
    if was.program not in HYBRID_MODELS or number(after) < number(SINCE):
        return None
    if not named and ("hybrid_layer_pattern" in dest or number(was.versions.megatron) >= number(SINCE)):
        return None
    if named:
        words = items[dest.index("hybrid_override_pattern")].words
        pattern, why = (
            words[-1].removeprefix("--hybrid-override-pattern="),
            "--hybrid-override-pattern is another name of it",
        )
    else:
        layers, attention, dense = (args[name] for name in ("num_layers", *_SAID[1:]))
        if not isinstance(layers, int) or not isinstance(attention, float | int) or not isinstance(dense, float | int):
            return None
        pattern, why = (
            letters_of(layers, attention, dense),
            f"what Megatron-LM {was.versions.megatron} makes of the shares",
        )
    made, written = [], False
    for item in items:
        if item.dest == "hybrid_override_pattern" and not written:
            item, written = item.becomes(("--hybrid-layer-pattern", pattern), why), True
        elif item.dest in (*_SAID, "num_layers"):
            item = item.becomes((), _WHY)
        made.append(item._replace(dest="hybrid_layer_pattern") if "--hybrid-layer-pattern" in item.words else item)
    if not written:
        made.append(Item(("--hybrid-layer-pattern", pattern), (), (), "hybrid_layer_pattern", why))
    return Proposal(tuple(made), frozenset((*_SAID, "hybrid_layer_pattern", "is_hybrid_model")))


def letters_of(layers: int, attention: float, dense: float) -> str:
    """A letter for each layer: attention evenly between Mamba layers, then feed-forward layers in place of some.

    Args:
        attention, dense: shares of all layers.
    """
    letters = ["M"] * layers
    count = round(layers * attention)
    _spread(letters, "*", (layers - count) / (count + 1))
    if wanted := round(layers * dense):
        _spread(letters, "-", (layers - count - wanted) / wanted)
    return "".join(letters)


def _spread(letters: list[str], letter: str, between: float) -> None:
    """Puts a letter behind every so many Mamba layers."""
    left = between
    for at, there in enumerate(letters):
        if there != "M":
            continue
        if left < 0.5:
            letters[at] = letter
            left += between
        else:
            left -= 1
