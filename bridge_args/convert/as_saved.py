"""The configuration of a run as Bridge itself saves it: after its set-up has written from some sections into others.

Bridge's loaders build the model of a checkpoint from the section of the model alone, so what stands elsewhere in a
configuration that a run starts from must be there as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.checkpoint.contents import Contents
from bridge_args.emit.layout import class_of
from bridge_args.mapping.sections.precision import SECTIONS
from bridge_args.mapping.translation import Assignment, Origin, Translation
from bridge_args.values import Built, to_plain

_EMBEDDING: Final = "embedding.word_embeddings.weight"
_VOCABULARY: Final = "model.vocab_size"


def rows_of(source: Contents) -> int | None:
    """Of the embedding, which are the size of the vocabulary; None where that is not known."""
    shapes = [tensor.shape for tensor in source.of_model if tensor.name == _EMBEDDING and tensor.shape]
    return shapes[0][0] if shapes else None


def as_saved(translation: Translation, rows: int | None) -> Translation:
    """The same run, in the words of its checkpoint.

    Args:
        rows: of the embedding, for arguments that do not say the size of the vocabulary; None: not known.
    """
    said = {one.path: one for one in translation.assignments}
    made = {path: one for one in _precision(translation, said) for path in [one.path]}
    if rows is not None and (_VOCABULARY not in said or said[_VOCABULARY].value is None):
        row = translation.outcomes["padded_vocab_size"].row
        made[_VOCABULARY] = Assignment(_VOCABULARY, rows, Origin("derived", (), "the rows of the embedding"), row)
    kept = tuple(one for one in translation.assignments if one.path not in made)
    return translation._replace(assignments=(*kept, *made.values()))


def _precision(t: Translation, said: Mapping[str, Assignment]) -> Iterator[Assignment]:
    """What the number formats of a run write over settings of the same names.

    Verify: megatron/bridge/training/mixed_precision.py, MixedPrecisionConfig.setup.
    """
    chosen = said.get("mixed_precision")
    if chosen is None or chosen.value is None:
        return
    fields = t.schema.classes[name_of("mixed precision", t.schema.version)]
    values: dict[str, Any] = {name: field.default for name, field in fields.items()}
    values |= chosen.value.kwargs if isinstance(chosen.value, Built) else t.schema.presets.get(str(chosen.value), {})
    for follower in ("fp8_param", "fp4_param"):
        if follower in values:
            values[follower] = values[f"{follower}_gather"]
    for section in SECTIONS:
        name = class_of(t, section)
        theirs = t.schema.classes[name] if name is not None else {}
        for field in theirs.keys() & values.keys():
            path = f"{section}.{field}"
            now = to_plain(said[path].value) if path in said else theirs[field].default
            if to_plain(values[field]) != now:
                yield Assignment(path, values[field], chosen.origin, chosen.row)
