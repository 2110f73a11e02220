"""Pipeline parallelism: stages, virtual stages, and which layers they hold."""

from __future__ import annotations

import re

from bridge_args.megatron_lm.derive.hybrid import virtual_stages_of
from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
)

_GROUP = re.compile(r"\(([^)]+)\)\*(\d+)")  # (tt|)*3
_LETTER = re.compile(r"(.)\*(\d+)")  # t*3

_LONGEST = 20_000  # stages and layers together; the deepest models have some hundreds


def stages_of(layout: str) -> list[str]:
    """The stages of ``--pipeline-model-parallel-layout``, a letter a layer, in the order data passes through them.

    ``Et*2|(t|)*2L`` is ``["Ett", "t", "t", "L"]``. See PipelineParallelLayerLayout.parse_str_to_list.
    """
    text = layout.replace(",", "")
    left = _LONGEST - len(text)

    def repeated(match: re.Match[str]) -> str:
        nonlocal left
        count = int(match.group(2)) if len(match.group(2)) < 9 else _LONGEST
        left -= len(match.group(1)) * count
        return match.group(1) * count if left >= 0 else ""

    for pattern in (_GROUP, _LETTER):
        text = pattern.sub(repeated, text) if left >= 0 else ""
    if left < 0:
        raise Invalid(
            f"--pipeline-model-parallel-layout has more than {_LONGEST} stages and layers",
            "write the layers that the model has",
            ("pipeline_model_parallel_layout",),
        )
    stages = text.split("|")
    unknown = sorted(set("".join(stages)) - set("EtmL"))
    if unknown:
        raise Invalid(
            f"--pipeline-model-parallel-layout {layout} has {', '.join(unknown)}, which is no layer type",
            "write E for the embedding, t for a layer, m for a multi-token-prediction layer, L for the loss",
            ("pipeline_model_parallel_layout",),
        )
    return stages


@computes(see=VALIDATE_ARGS)
def transformer_pipeline_model_parallel_size(pipeline_model_parallel_size: int) -> int:
    """Pipeline stages of the decoder: all of them."""
    return pipeline_model_parallel_size


@computes(see=VALIDATE_ARGS)
def virtual_pipeline_model_parallel_size(
    num_layers: int,
    hybrid_layer_pattern: str | None,
    pipeline_model_parallel_size: int,
    pipeline_model_parallel_layout: str | None,
    num_layers_per_virtual_pipeline_stage: int | None,
    num_virtual_stages_per_pipeline_rank: int | None,
    account_for_embedding_in_pipeline_split: bool | None,
    account_for_loss_in_pipeline_split: bool | None,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
) -> int | None:
    """Virtual stages on each rank; None when there is one."""
    ways = {
        "num_layers_per_virtual_pipeline_stage": num_layers_per_virtual_pipeline_stage,
        "num_virtual_stages_per_pipeline_rank": num_virtual_stages_per_pipeline_rank,
        "pipeline_model_parallel_layout": pipeline_model_parallel_layout,
    }
    used = [name for name, value in ways.items() if value is not None]
    if len(used) > 1:
        raise Invalid(
            f"{' and '.join(map(flag, used))} say the same thing in different ways", "keep one of them", tuple(used)
        )
    ranks = pipeline_model_parallel_size
    layers = num_layers + bool(account_for_embedding_in_pipeline_split) + bool(account_for_loss_in_pipeline_split)
    uneven = decoder_first_pipeline_num_layers is not None or decoder_last_pipeline_num_layers is not None

    if hybrid_layer_pattern is not None:
        return virtual_stages_of(hybrid_layer_pattern, ranks)
    if pipeline_model_parallel_layout is not None:
        stages = len(stages_of(pipeline_model_parallel_layout))
        if stages % ranks:
            raise Invalid(
                f"--pipeline-model-parallel-layout has {stages} stages, which pipeline {ranks} does not divide",
                arguments=("pipeline_model_parallel_layout", "pipeline_model_parallel_size"),
            )
        virtual = stages // ranks
    elif num_virtual_stages_per_pipeline_rank is not None:
        virtual = num_virtual_stages_per_pipeline_rank
    elif num_layers_per_virtual_pipeline_stage is None:
        if not uneven:
            _whole(layers, ranks, num_layers)
        return None
    else:
        if uneven:
            raise Invalid(
                "--num-layers-per-virtual-pipeline-stage cannot be combined with stages of unequal length",
                "use --num-virtual-stages-per-pipeline-rank",
                ("num_layers_per_virtual_pipeline_stage",),
            )
        per_rank = _whole(layers, ranks, num_layers)
        if num_layers_per_virtual_pipeline_stage < 1 or per_rank % num_layers_per_virtual_pipeline_stage:
            raise Invalid(
                f"{layers} layers / pipeline {ranks} = {per_rank} layers a rank, which "
                f"--num-layers-per-virtual-pipeline-stage {num_layers_per_virtual_pipeline_stage} does not divide",
                arguments=("num_layers_per_virtual_pipeline_stage", "num_layers", "pipeline_model_parallel_size"),
            )
        virtual = per_rank // num_layers_per_virtual_pipeline_stage
    return virtual if virtual != 1 else None


def _whole(layers: int, ranks: int, num_layers: int) -> int:
    if layers % ranks:
        extra = f" ({num_layers} and the embedding or loss, counted as layers)" if layers != num_layers else ""
        raise Invalid(
            f"{layers} layers{extra} cannot be divided among pipeline {ranks}",
            f"use a multiple of {ranks}, or define the stages with --pipeline-model-parallel-layout",
            ("num_layers", "pipeline_model_parallel_size"),
        )
    return layers // ranks


@derives(see=VALIDATE_ARGS)
def overlap_p2p_comm(overlap_p2p_comm: bool, virtual_pipeline_model_parallel_size: int | None) -> bool:
    """Only the interleaved schedule overlaps sends between stages."""
    return overlap_p2p_comm and virtual_pipeline_model_parallel_size is not None


@derives(see=VALIDATE_ARGS)
def align_param_gather(align_param_gather: bool, virtual_pipeline_model_parallel_size: int | None) -> bool:
    """Only the interleaved schedule has parameter gathers to align."""
    return align_param_gather and virtual_pipeline_model_parallel_size is not None


@checks(see=VALIDATE_ARGS)
def interleaved_schedule(
    virtual_pipeline_model_parallel_size: int | None, overlap_p2p_comm: bool, pipeline_model_parallel_size: int
) -> Problems:
    """How many ranks virtual stages need."""
    least = 2 if overlap_p2p_comm else 3
    if virtual_pipeline_model_parallel_size is not None and pipeline_model_parallel_size < least:
        without = "" if overlap_p2p_comm else " and --no-overlap-p2p-communication"
        yield Invalid(
            f"with {virtual_pipeline_model_parallel_size} virtual stages a rank{without}, "
            f"--pipeline-model-parallel-size must be at least {least}, not {pipeline_model_parallel_size}",
            arguments=("pipeline_model_parallel_size", "num_layers_per_virtual_pipeline_stage"),
        )


@checks(see=TRANSFORMER_CONFIG)
def ways_to_split(
    pipeline_model_parallel_layout: str | None,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
    account_for_embedding_in_pipeline_split: bool | None,
    account_for_loss_in_pipeline_split: bool | None,
) -> Problems:
    """Only one way to split a model into stages."""
    used = {
        "pipeline_model_parallel_layout": pipeline_model_parallel_layout is not None,
        "decoder_first_pipeline_num_layers": decoder_first_pipeline_num_layers is not None,
        "decoder_last_pipeline_num_layers": decoder_last_pipeline_num_layers is not None,
        "account_for_embedding_in_pipeline_split": account_for_embedding_in_pipeline_split,
        "account_for_loss_in_pipeline_split": account_for_loss_in_pipeline_split,
    }
    names = [name for name, on in used.items() if on]
    kinds = {name.split("_")[0] for name in names}  # pipeline, decoder, account
    if len(kinds) > 1:
        yield Invalid(
            f"{' and '.join(map(flag, names))} are different ways to split the model into stages",
            "keep one of them",
            tuple(names),
        )


def _ends(first: int | None, last: int | None) -> dict[str, int]:
    """The layers of the first and of the last stage by argument, as far as they are given."""
    given = {"decoder_first_pipeline_num_layers": first, "decoder_last_pipeline_num_layers": last}
    return {name: layers for name, layers in given.items() if layers is not None}


@checks(see=TRANSFORMER_CONFIG)
def uneven_stages(
    num_layers: int,
    pipeline_model_parallel_size: int,
    virtual_pipeline_model_parallel_size: int | None,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
) -> Problems:
    """What is left for the stages in the middle."""
    ends = _ends(decoder_first_pipeline_num_layers, decoder_last_pipeline_num_layers)
    if not ends:
        return
    virtual = virtual_pipeline_model_parallel_size or 1
    for name, layers in ends.items():
        if layers <= 0:
            yield Invalid(f"{flag(name)} must be at least 1, not {layers}", arguments=(name,))
        elif layers % virtual:
            yield Invalid(f"{flag(name)} {layers} cannot be divided among {virtual} virtual stages", arguments=(name,))
    left, ranks = num_layers - sum(ends.values()), pipeline_model_parallel_size - len(ends)
    if bool(left) != bool(ranks):  # see layers_in_the_middle
        return
    if ranks and left % ranks:
        yield Invalid(
            f"{left} layers are left for the stages in the middle, which {ranks} stages do not divide",
            arguments=(*ends, "num_layers", "pipeline_model_parallel_size"),
        )
    elif ranks and left // ranks % virtual:
        yield Invalid(
            f"{left // ranks} layers on each stage in the middle cannot be divided among {virtual} virtual stages",
            arguments=(*ends, "num_layers", "num_virtual_stages_per_pipeline_rank"),
        )


@checks(">=0.16", see=TRANSFORMER_CONFIG)
def layers_in_the_middle(
    num_layers: int,
    pipeline_model_parallel_size: int,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
) -> Problems:
    """No layers without stages, and no stages without layers."""
    ends = _ends(decoder_first_pipeline_num_layers, decoder_last_pipeline_num_layers)
    left, ranks = num_layers - sum(ends.values()), pipeline_model_parallel_size - len(ends)
    if ends and bool(left) != bool(ranks):
        yield Invalid(
            f"{left} layers are left for {ranks} stages in the middle",
            arguments=(*ends, "num_layers", "pipeline_model_parallel_size"),
        )


@checks(see="megatron/core/transformer/transformer_block.py::get_num_layers_to_build")
def even_virtual_stages(
    num_layers: int,
    pipeline_model_parallel_size: int,
    virtual_pipeline_model_parallel_size: int | None,
    hybrid_layer_pattern: str | None,
    pipeline_model_parallel_layout: str | None,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
    account_for_embedding_in_pipeline_split: bool | None,
    account_for_loss_in_pipeline_split: bool | None,
) -> Problems:
    """Layers a virtual stage."""
    if virtual_pipeline_model_parallel_size is None:
        return
    if hybrid_layer_pattern is not None or pipeline_model_parallel_layout is not None:
        return
    if decoder_first_pipeline_num_layers is not None or decoder_last_pipeline_num_layers is not None:
        return
    extra = bool(account_for_embedding_in_pipeline_split) + bool(account_for_loss_in_pipeline_split)
    layers, stages = num_layers + extra, pipeline_model_parallel_size * virtual_pipeline_model_parallel_size
    if stages < 1 or layers % stages:
        said = f"{num_layers} layers" + (f" and {extra} for embedding or loss" if extra else "")
        yield Invalid(
            f"{said} cannot be divided among pipeline {pipeline_model_parallel_size} x virtual "
            f"{virtual_pipeline_model_parallel_size} = {stages} stages",
            arguments=("num_virtual_stages_per_pipeline_rank", "num_layers", "pipeline_model_parallel_size"),
        )


@checks(
    see="megatron/core/transformer/pipeline_parallel_layer_layout.py::PipelineParallelLayerLayout.validate_layer_layout"
)
def layout_of_stages(
    pipeline_model_parallel_layout: str | None,
    virtual_pipeline_model_parallel_size: int | None,
    pipeline_model_parallel_size: int,
    num_layers: int,
    mtp_num_layers: int | None,
) -> Problems:
    """The layout against the model."""
    if pipeline_model_parallel_layout is None:
        return
    stages = stages_of(pipeline_model_parallel_layout)
    layers = "".join(stages)
    said = f"--pipeline-model-parallel-layout {pipeline_model_parallel_layout}"
    if not (layers.startswith("E") and layers.endswith("L") and layers.count("E") == 1 and layers.count("L") == 1):
        yield Invalid(f"{said} must begin with its only E (embedding) and end with its only L (loss)")
    for letter, kind, name, wanted in (
        ("t", "decoder", "num_layers", num_layers),
        ("m", "multi-token-prediction", "mtp_num_layers", mtp_num_layers or 0),
    ):
        if layers.count(letter) != wanted:
            yield Invalid(
                f"{said} has {layers.count(letter)} {kind} layers, but {flag(name)} is {wanted}",
                arguments=("pipeline_model_parallel_layout", name),
            )
    if "t" in layers.partition("m")[2]:
        yield Invalid(f"{said} has decoder layers after a multi-token-prediction layer")
    holders = [index for index, stage in enumerate(stages) if "m" in stage]
    last_round = len(stages) - pipeline_model_parallel_size
    if len(holders) > 1 or any(index < last_round for index in holders):
        yield Invalid(f"{said} must keep all multi-token-prediction layers in one stage, the last of its rank")


@checks(see="megatron/core/model_parallel_config.py::ModelParallelConfig.__post_init__")
def embedding_gradients(
    defer_embedding_wgrad_compute: bool | None,
    pipeline_model_parallel_size: int,
    gradient_accumulation_fusion: bool | None,
    wgrad_deferral_limit: int | None,
) -> Problems:
    """When the embedding's weight gradients may come last."""
    if not defer_embedding_wgrad_compute:
        return
    if pipeline_model_parallel_size == 1:
        yield Invalid(
            "--defer-embedding-wgrad-compute needs pipeline parallelism", arguments=("defer_embedding_wgrad_compute",)
        )
    if not gradient_accumulation_fusion:
        yield Invalid(
            "--defer-embedding-wgrad-compute cannot be combined with --no-gradient-accumulation-fusion",
            arguments=("defer_embedding_wgrad_compute", "gradient_accumulation_fusion"),
        )
    if (wgrad_deferral_limit or 0) < 0:
        yield Invalid(
            f"--wgrad-deferral-limit must be at least 0, not {wgrad_deferral_limit}",
            arguments=("wgrad_deferral_limit",),
        )


@checks(see="megatron/core/model_parallel_config.py::ModelParallelConfig.__post_init__")
def overlap_in_warmup(overlap_p2p_comm_warmup_flush: bool | None, overlap_p2p_comm: bool) -> Problems:
    """Overlap in the first and last steps of the schedule."""
    if overlap_p2p_comm_warmup_flush and not overlap_p2p_comm:
        yield Invalid(
            "--overlap-p2p-communication-warmup-flush works only with virtual pipeline stages and overlapped "
            "communication between stages",
            "leave it out, or set --num-virtual-stages-per-pipeline-rank",
            ("overlap_p2p_comm_warmup_flush",),
        )
