"""Where the tokens come from, and what the data loader makes of them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.files import json_of
from bridge_args.mapping.sections.registry import Lost, Rejected, builder
from bridge_args.megatron_lm.programs import HYBRID_MODELS

Blend = list[Any]  # [prefixes, weights or None]


@builder(writes=("dataset.blend", "dataset.blend_per_split", "dataset.sequences_per_dataset"))
def data_source(
    data_path: list[str] | None,
    train_data_path: list[str] | None,
    valid_data_path: list[str] | None,
    test_data_path: list[str] | None,
    data_args_path: str | None,
    per_split_data_args_path: str | None,
    per_dataset_sequences_path: str | None,
    mock_data: bool,
    read: Callable[[str], str],
) -> dict[str, Any]:
    """One blend, or one per split; none means made-up data to Bridge.

    Bridge has no setting for the files that can hold these words, so they are read here. See
    megatron/training/utils.py get_blend_and_blend_per_split.
    """
    decided: dict[str, Any] = {}
    per_split = (train_data_path, valid_data_path, test_data_path)
    try:
        if data_path is not None:
            decided["dataset.blend"] = blend(data_path)
        elif data_args_path is not None:
            decided["dataset.blend"] = blend(read(data_args_path).split())
        elif any(paths is not None for paths in per_split):
            decided["dataset.blend_per_split"] = [None if paths is None else blend(paths) for paths in per_split]
        elif per_split_data_args_path is not None:
            decided["dataset.blend_per_split"] = _per_split(read(per_split_data_args_path))
    except (OSError, ValueError) as error:
        name = "data_args_path" if data_args_path is not None else "per_split_data_args_path"
        remedy = "write what it holds after --data-path, or --train-data-path, --valid-data-path and --test-data-path."
        decided[name] = _unusable(error) or Lost(_unread(error, remedy))
    if mock_data:
        decided.pop("dataset.blend", None)
        decided.pop("dataset.blend_per_split", None)
    if per_dataset_sequences_path is not None:
        try:
            decided["dataset.sequences_per_dataset"] = _counts(read(per_dataset_sequences_path))
        except (OSError, ValueError) as error:
            remedy = "set dataset.sequences_per_dataset to the mapping it holds."
            decided["per_dataset_sequences_path"] = _unusable(error) or Lost(_unread(error, remedy))
    return decided


def _unusable(error: Exception) -> Rejected | None:
    """What is there and is no such file; one that is not here may be where the run is."""
    if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EFBIG, errno.EILSEQ, errno.EISDIR):
        return None
    why = error.strerror if isinstance(error, OSError) else str(error)[:200]
    return Rejected(f"the file cannot be used: {why}")


def _per_split(text: str) -> list[Blend | None]:
    held = json_of(text)
    if not isinstance(held, dict) or not {"train", "valid", "test"} <= held.keys():
        raise ValueError("it is not a JSON mapping of train, valid and test")
    splits: list[Blend | None] = []
    for name in ("train", "valid", "test"):
        if held[name] is None:  # Megatron-LM takes it for a split without data
            splits.append(None)
            continue
        words = held[name].split() if isinstance(held[name], str) else held[name]
        if not isinstance(words, list):
            raise ValueError(f"{name} is neither a text nor a list")
        splits.append(blend([str(word) for word in words]))
    return splits


def _counts(text: str) -> dict[str, int]:
    held = json_of(text)
    if not isinstance(held, dict) or not all(isinstance(count, int) for count in held.values()):
        raise ValueError("it is not a JSON mapping of prefixes to whole numbers")
    return held


def _unread(error: Exception, remedy: str) -> str:
    why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return f"Bridge has no setting for such a file, and it could not be read here ({why}); {remedy}"


def blend(words: Sequence[str]) -> Blend | None:
    """``[prefixes, weights or None]`` from prefixes, or from weights and prefixes in turn; None where there are none.

    See megatron/core/datasets/utils.py get_blend_from_list. Words that are weights only in part, which Megatron
    Core refuses, are taken as prefixes.
    """
    if not words:
        return None
    weights = [_number(word) for word in words[::2]]
    if len(words) % 2 == 0 and None not in weights:
        return [[prefix.strip() for prefix in words[1::2]], weights]
    return [[prefix.strip() for prefix in words], None]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


@builder(writes=("dataset.skip_getting_attention_mask_from_dataset",))
def attention_mask(create_attention_mask_in_dataloader: bool) -> dict[str, Any]:
    """Bridge drops the mask the data set made unless told to keep it.

    See megatron/bridge/training/gpt_step.py get_batch_from_iterator.
    """
    return {"dataset.skip_getting_attention_mask_from_dataset": not create_attention_mask_in_dataloader}


@builder(writes=("dataset.persistent_workers",))
def workers(num_workers: int) -> dict[str, Any]:
    """Megatron-LM keeps its data-loader workers from one epoch to the next.

    See megatron/training/datasets/data_samplers.py build_pretraining_data_loader.
    """
    return {"dataset.persistent_workers": num_workers > 0}


@builder(
    if_there=(
        "dataset._target_",
        "dataset.fim_rate",
        "dataset.fim_spm_rate",
        "dataset.fim_split_sample",
        "dataset.fim_fragment_rate",
        "dataset.fim_no_prefix",
        "dataset.fim_extra_tokens",
    )
)
def fill_in_the_middle(
    fim_data: bool,
    fim_rate: float,
    fim_spm_rate: float,
    fim_split_sample: str | None,
    fim_fragment_rate: float | None,
    fim_no_prefix: str | None,
    fim_prefix_token: str,
    fim_middle_token: str,
    fim_suffix_token: str,
    fim_pad_token: str,
    fim_eod_token: str,
    program: str,
    schema: Schema,
) -> dict[str, Any]:
    """Another class of data set, with the five tokens under the names the data set looks up; not of hybrid models.

    See pretrain_gpt.py core_gpt_dataset_config_from_args and megatron/bridge/data/datasets/fim_dataset.py.
    """
    if not fim_data or program in HYBRID_MODELS:
        return {}
    config = name_of("data with a middle to fill in", schema.version)
    if not config:
        return {"fim_data": Lost("This Bridge has no such data set; Bridge 0.3 has.")}
    return {
        "dataset._target_": config,
        "dataset.fim_rate": fim_rate,
        "dataset.fim_spm_rate": fim_spm_rate,
        "dataset.fim_split_sample": fim_split_sample,
        "dataset.fim_fragment_rate": fim_fragment_rate,
        "dataset.fim_no_prefix": fim_no_prefix,
        "dataset.fim_extra_tokens": {
            "prefix": fim_prefix_token,
            "middle": fim_middle_token,
            "suffix": fim_suffix_token,
            "pad": fim_pad_token,
            "eod": fim_eod_token,
        },
    }
