"""How ranks and layers are divided."""

from __future__ import annotations

import pytest
from derive_cases import Accepted, Refused, meaning, said, table

from bridge_args.megatron_lm.derive.hybrid import layers_of, virtual_stages_of
from bridge_args.megatron_lm.derive.pipeline import stages_of, virtual_pipeline_model_parallel_size
from bridge_args.megatron_lm.derive.registry import Invalid

# words, GPUs, name, value
VALUES = {
    "all ranks are data parallel": ("", 8, "data_parallel_size", 8),
    "model parallelism leaves fewer copies": (
        "--tensor-model-parallel-size 2 --pipeline-model-parallel-size 2 --context-parallel-size 2",
        16,
        "data_parallel_size",
        2,
    ),
    "experts share the ranks of tensor and data parallelism": (
        "--tensor-model-parallel-size 2 --num-experts 4 --expert-model-parallel-size 4 --disable-bias-linear",
        16,
        "expert_data_parallel_size",
        2,
    ),
    "experts have the tensor parallelism of the model": (
        "--tensor-model-parallel-size 2",
        8,
        "expert_tensor_parallel_size",
        2,
    ),
    "experts have a tensor parallelism of their own": (
        "--tensor-model-parallel-size 2 --expert-tensor-parallel-size 1",
        8,
        "expert_tensor_parallel_size",
        1,
    ),
    "sequence parallel needs tensor parallel": ("--sequence-parallel", 8, "sequence_parallel", False),
    "sequence parallel with tensor parallel": (
        "--sequence-parallel --tensor-model-parallel-size 2",
        8,
        "sequence_parallel",
        True,
    ),
    "stages of the decoder": ("--pipeline-model-parallel-size 4", 8, "transformer_pipeline_model_parallel_size", 4),
    "no interleaving, no overlap between stages": ("--pipeline-model-parallel-size 4", 8, "overlap_p2p_comm", False),
    "interleaving overlaps": (
        "--pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 2",
        8,
        "overlap_p2p_comm",
        True,
    ),
    "no interleaving, no aligned gathers": ("", 8, "align_param_gather", False),
    "active ranks of in-process restart": ("", 32, "inprocess_active_world_size", 32),
    "active ranks as typed": ("--inprocess-active-world-size 24", 32, "inprocess_active_world_size", 24),
    "FSDP2 communicates first": (
        "--use-torch-fsdp2 --no-gradient-accumulation-fusion --untie-embeddings-and-output-weights",
        8,
        "high_priority_stream_groups",
        ["dp_cp"],
    ),
    "the old name of Megatron FSDP": (
        "--use-megatron-fsdp --ckpt-format fsdp_dtensor",
        8,
        "use_custom_fsdp",
        True,
    ),
}


@table(VALUES)
def test_values(case: tuple[str, int, str, object]) -> None:
    words, world_size, name, value = case
    assert meaning(words, world_size=world_size)[name] == value


# layers, pipeline, layout, layers a virtual stage, virtual stages, embedding, loss, first, last -> virtual stages
VIRTUAL = {
    "one stage a rank": ((8, 4, None, None, None, False, False, None, None), None),
    "layers a virtual stage": ((32, 4, None, 2, None, False, False, None, None), 4),
    "layers a virtual stage that make one": ((8, 4, None, 2, None, False, False, None, None), None),
    "virtual stages": ((8, 4, None, None, 2, False, False, None, None), 2),
    "one virtual stage is none": ((8, 4, None, None, 1, False, False, None, None), None),
    "embedding and loss count as layers": ((30, 4, None, 2, None, True, True, None, None), 4),
    "a layout of two rounds": ((6, 2, "Et|tt|tt|tL", None, None, False, False, None, None), 2),
    "a layout of one round": ((2, 2, "Et|tL", None, None, False, False, None, None), None),
    "a layout with repetition": ((10, 5, "Ett|(tt|)*3ttL", None, None, False, False, None, None), None),
    "uneven ends need not divide": ((9, 4, None, None, None, False, False, 2, 1), None),
}


@pytest.mark.parametrize(("numbers", "stages"), [pytest.param(*case, id=spoken) for spoken, case in VIRTUAL.items()])
def test_virtual_stages(numbers: tuple[object, ...], stages: int | None) -> None:
    layers, *rest = numbers
    assert virtual_pipeline_model_parallel_size(layers, None, *rest) == stages


LAYOUTS = {
    "stages": ("Et|t|tL", ["Et", "t", "tL"]),
    "commas are for the eye": ("E,t|t,L", ["Et", "tL"]),
    "repeated layers": ("Et*3|t*2L", ["Ettt", "ttL"]),
    "repeated stages": ("E|(tt|)*2L", ["E", "tt", "tt", "L"]),
    "empty stages": ("E||L", ["E", "", "L"]),
}


@table(LAYOUTS)
def test_stages_of_a_layout(case: tuple[str, list[str]]) -> None:
    assert stages_of(case[0]) == case[1]


def test_hybrid_patterns_tell_layers_and_segments() -> None:
    assert layers_of("M*|M-/MM/MM") == 4
    assert virtual_stages_of("M*|M-|MM|MM/MM", 2) == 2
    assert virtual_stages_of("M*|M-", 2) is None
    assert virtual_stages_of("M*M-", 2) is None
    with pytest.raises(Invalid, match="3 segments"):
        virtual_stages_of("M|M|M", 2)


def test_a_pattern_tells_the_layers_from_0_17_on() -> None:
    args = meaning("--hybrid-override-pattern M*M-/MM", version="0.17.1", without="--num-layers")
    assert (args["num_layers"], args["mtp_num_layers"]) == (4, 1)


REFUSED = {
    "GPUs that do not divide": Refused(
        "--tensor-model-parallel-size 8 --pipeline-model-parallel-size 4 --context-parallel-size 3",
        "64 GPUs cannot be divided: tensor 8 x pipeline 4 x context 3 = 96",
        world_size=64,
    ),
    "no tensor parallelism at all": Refused("--tensor-model-parallel-size 0", "must be at least 1, not 0"),
    "more experts' ranks than ranks": Refused(
        "--num-experts 16 --expert-model-parallel-size 16 --disable-bias-linear",
        "the 8 GPUs of a pipeline stage cannot be divided among experts: expert tensor 1 x expert 16 = 16",
    ),
    "pipelines before data, experts divided otherwise": Refused(
        "--use-tp-pp-dp-mapping --pipeline-model-parallel-size 2 --num-experts 4 --expert-model-parallel-size 4"
        " --disable-bias-linear",
        "not 1 and 4",
    ),
    "context sizes that do not multiply": Refused(
        "--context-parallel-size 4 --hierarchical-context-parallel-sizes 2 4", "2 4 multiply to 8"
    ),
    "a context hierarchy that is missing": Refused(
        "--context-parallel-size 2 --cp-comm-type a2a+p2p", "needs --hierarchical-context-parallel-sizes"
    ),
    "a sequence that context parallelism does not divide": Refused(
        "--context-parallel-size 4 --seq-length 124 ",
        "--seq-length 124 is not a multiple of 2 x context parallel 4 = 8",
    ),
    "communication for three of eight layers": Refused(
        "--context-parallel-size 2 --cp-comm-type p2p a2a p2p", "--cp-comm-type has 3 values for 8 layers"
    ),
    "context parallelism of legacy models": Refused(
        "--context-parallel-size 2 --use-legacy-models --ckpt-format torch", "not there for legacy models"
    ),
    "hybrid context parallelism with pipelines": Refused(
        "--hybrid-context-parallel --calculate-per-token-loss --pipeline-model-parallel-size 2",
        "cannot be combined with pipeline parallelism",
    ),
    "hybrid context parallelism, cyclic": Refused(
        "--hybrid-context-parallel --calculate-per-token-loss --dataloader-type cyclic",
        "cannot be combined with --dataloader-type cyclic",
    ),
    "hybrid context parallelism, loss a sequence": Refused(
        "--hybrid-context-parallel", "needs --calculate-per-token-loss"
    ),
    "pipelines over UCC in one hardware queue": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-comm-backend ucc",
        "does not work with CUDA_DEVICE_MAX_CONNECTIONS=1",
    ),
    "SHARP's group without SHARP": Refused("--sharp-enabled-group dp", "needs --use-sharp"),
    "SHARP among copies that are not there": Refused(
        "--use-sharp --sharp-enabled-group dp_replica", "needs --num-distributed-optimizer-instances"
    ),
    "optimizer instances that do not divide": Refused(
        "--num-distributed-optimizer-instances 3 --use-distributed-optimizer",
        "8 data-parallel ranks cannot be divided among --num-distributed-optimizer-instances 3",
    ),
    "a fake process group with flex": Refused(
        "--fake-process-group --moe-token-dispatcher-type flex", "cannot be combined with"
    ),
    "tensor parallelism without the variable": Refused(
        "--tensor-model-parallel-size 2", "CUDA_DEVICE_MAX_CONNECTIONS=1", env={"CUDA_DEVICE_MAX_CONNECTIONS": ""}
    ),
    "layers that pipelines do not divide": Refused(
        "--pipeline-model-parallel-size 8 --num-layers 12", "12 layers cannot be divided among pipeline 8"
    ),
    "layers and embedding that pipelines do not divide": Refused(
        "--pipeline-model-parallel-size 4 --account-for-embedding-in-pipeline-split",
        "9 layers (8 and the embedding or loss, counted as layers) cannot be divided among pipeline 4",
    ),
    "layers a virtual stage that do not divide": Refused(
        "--pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 3",
        "8 layers / pipeline 2 = 4 layers a rank, which --num-layers-per-virtual-pipeline-stage 3 does not divide",
    ),
    "virtual stages that do not divide": Refused(
        "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 3",
        "8 layers cannot be divided among pipeline 2 x virtual 3 = 6 stages",
    ),
    "virtual stages and a layout": Refused(
        "--pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2"
        " --pipeline-model-parallel-layout Et*4|t*4L",
        "say the same thing in different ways",
    ),
    "virtual stages by layers, with uneven ends": Refused(
        "--pipeline-model-parallel-size 4 --num-layers-per-virtual-pipeline-stage 1"
        " --decoder-first-pipeline-num-layers 2",
        "cannot be combined with stages of unequal length",
    ),
    "virtual stages on one rank": Refused(
        "--num-virtual-stages-per-pipeline-rank 2", "--pipeline-model-parallel-size must be at least 2, not 1"
    ),
    "virtual stages on two ranks without overlap": Refused(
        "--num-virtual-stages-per-pipeline-rank 2 --pipeline-model-parallel-size 2 --no-overlap-p2p-communication",
        "--pipeline-model-parallel-size must be at least 3, not 2",
    ),
    "two ways to split": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|t*4L"
        " --decoder-first-pipeline-num-layers 4",
        "different ways to split the model into stages",
    ),
    "middle stages that do not divide": Refused(
        "--pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 1",
        "7 layers are left for the stages in the middle, which 3 stages do not divide",
    ),
    "no layers for the middle": Refused(
        "--pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 4 --decoder-last-pipeline-num-layers 4",
        "0 layers are left for 2 stages in the middle",
    ),
    "no layers at the end": Refused(
        "--pipeline-model-parallel-size 4 --decoder-last-pipeline-num-layers 0", "must be at least 1, not 0"
    ),
    "a first stage that virtual stages do not divide": Refused(
        "--pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 3"
        " --num-virtual-stages-per-pipeline-rank 2",
        "--decoder-first-pipeline-num-layers 3 cannot be divided among 2 virtual stages",
    ),
    "middle stages that virtual stages do not divide": Refused(
        "--num-layers 8 --pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 2"
        " --decoder-last-pipeline-num-layers 4 --num-virtual-stages-per-pipeline-rank 2",
        "1 layers on each stage in the middle cannot be divided among 2 virtual stages",
    ),
    "a layout that pipelines do not divide": Refused(
        "--num-layers 10 --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ett|(tt|)*3ttL",
        "has 5 stages, which pipeline 2 does not divide",
    ),
    "a layout with an unknown letter": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|x*4L", "has x, which is no layer type"
    ),
    "a layout of another depth": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|t*3L",
        "has 7 decoder layers, but --num-layers is 8",
    ),
    "a layout without a loss": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|t*4", "end with its only L"
    ),
    "a layout with another number of MTP layers": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|t*4mL"
        " --mtp-num-layers 2 --position-embedding-type rope",
        "has 1 multi-token-prediction layers, but --mtp-num-layers is 2",
    ),
    "a layout with MTP layers first": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*3m|t*5L"
        " --mtp-num-layers 1 --position-embedding-type rope",
        "has decoder layers after a multi-token-prediction layer",
    ),
    "a layout with MTP layers apart": Refused(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*8m|mL"
        " --mtp-num-layers 2 --position-embedding-type rope",
        "must keep all multi-token-prediction layers in one stage",
    ),
    "deferred embedding gradients without a pipeline": Refused(
        "--defer-embedding-wgrad-compute", "needs pipeline parallelism"
    ),
    "deferred embedding gradients without fusion": Refused(
        "--defer-embedding-wgrad-compute --pipeline-model-parallel-size 2 --no-gradient-accumulation-fusion",
        "cannot be combined with --no-gradient-accumulation-fusion",
    ),
    "overlap in warmup without virtual stages": Refused(
        "--overlap-p2p-communication-warmup-flush --pipeline-model-parallel-size 2", "only with virtual pipeline stages"
    ),
    "FSDP2 with a pipeline": Refused(
        "--use-torch-fsdp2 --no-gradient-accumulation-fusion --untie-embeddings-and-output-weights"
        " --pipeline-model-parallel-size 2",
        "--use-torch-fsdp2 needs no pipeline parallelism",
        env={"CUDA_DEVICE_MAX_CONNECTIONS": "8"},
    ),
    "FSDP2 with tied embeddings": Refused(
        "--use-torch-fsdp2 --no-gradient-accumulation-fusion",
        "needs --untie-embeddings-and-output-weights",
        env={"CUDA_DEVICE_MAX_CONNECTIONS": "8"},
    ),
    "FSDP2 with one hardware queue": Refused(
        "--use-torch-fsdp2 --no-gradient-accumulation-fusion --untie-embeddings-and-output-weights",
        "does not work with CUDA_DEVICE_MAX_CONNECTIONS=1",
    ),
    "Megatron FSDP with another format": Refused(
        "--use-megatron-fsdp",
        "saves with --ckpt-format fsdp_dtensor, not torch_dist",
        env={"CUDA_DEVICE_MAX_CONNECTIONS": "8"},
    ),
    "FSDP's format without FSDP": Refused("--ckpt-format fsdp_dtensor", "needs --use-megatron-fsdp"),
    "FSDP2's format without FSDP2": Refused("--ckpt-format torch_dcp", "needs --use-torch-fsdp2"),
    "registered buffers without Megatron FSDP": Refused(
        "--fsdp-manual-registration --use-nccl-ub", "needs --use-megatron-fsdp"
    ),
}

ACCEPTED = {
    "eight GPUs": Accepted(""),
    "tensor, pipeline and context parallelism": Accepted(
        "--tensor-model-parallel-size 2 --pipeline-model-parallel-size 2 --context-parallel-size 2"
    ),
    "pipelines before data": Accepted(
        "--use-tp-pp-dp-mapping --pipeline-model-parallel-size 2 --num-experts 4 --expert-model-parallel-size 1"
        " --disable-bias-linear"
    ),
    "a context hierarchy": Accepted(
        "--context-parallel-size 4 --hierarchical-context-parallel-sizes 2 2 --cp-comm-type a2a+p2p"
    ),
    "uneven ends": Accepted(
        "--num-layers 9 --pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 2"
        " --decoder-last-pipeline-num-layers 1"
    ),
    "embedding and loss as layers": Accepted(
        "--num-layers 6 --pipeline-model-parallel-size 4 --account-for-embedding-in-pipeline-split"
        " --account-for-loss-in-pipeline-split"
    ),
    "a layout with MTP in the last stage": Accepted(
        "--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et*4|t*4mL"
        " --mtp-num-layers 1 --position-embedding-type rope"
    ),
    "virtual stages without overlap": Accepted(
        "--num-virtual-stages-per-pipeline-rank 2 --pipeline-model-parallel-size 4 --no-overlap-p2p-communication"
    ),
    "FSDP2": Accepted(
        "--use-torch-fsdp2 --no-gradient-accumulation-fusion --untie-embeddings-and-output-weights",
        env={"CUDA_DEVICE_MAX_CONNECTIONS": ""},
    ),
    "Megatron FSDP": Accepted(
        "--use-megatron-fsdp --ckpt-format fsdp_dtensor --tensor-model-parallel-size 2",
        env={"CUDA_DEVICE_MAX_CONNECTIONS": "8"},
    ),
    "a context parallelism of one does not divide": Accepted("--seq-length 127"),
}


@table(REFUSED)
def test_refused(case: Refused) -> None:
    assert any(case.says in message for message in said(case)), said(case)


@table(ACCEPTED)
def test_accepted(case: Accepted) -> None:
    assert said(case) == []
