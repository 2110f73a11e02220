"""Hybrid models: which class of Bridge, what it is given, and what it refuses."""

from __future__ import annotations

import pytest
from small import SMALL_TEXT

import bridge_args
from bridge_args.values import Built

HYBRID = "megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider"
MAMBA = "megatron.bridge.models.mamba.mamba_provider.MambaModelProvider"
SPEC = "--spec megatron.core.models.hybrid.hybrid_layer_specs hybrid_stack_spec"
ROPE = "--position-embedding-type rope --disable-bias-linear"


def made(
    words: str, megatron_lm: str = "0.19.0", bridge: str = "0.6.2", program: str = "pretrain_hybrid.py"
) -> bridge_args.Translation:
    typed = f"{program} {SMALL_TEXT} {ROPE} {words}".split()
    env = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
    return bridge_args.translate(typed, world_size=8, megatron_lm=megatron_lm, bridge=bridge, env=env)


def settings(t: bridge_args.Translation) -> dict[str, object]:
    return {assignment.path: assignment.value for assignment in t.assignments}


@pytest.mark.parametrize("program", ["pretrain_hybrid.py", "pretrain_mamba.py"])
@pytest.mark.parametrize(
    ("megatron_lm", "bridge", "provider"),
    [
        ("0.19.0", "0.6.2", HYBRID),
        ("0.18.2", "0.6.2", HYBRID),
        ("0.18.2", "0.5.1", MAMBA),
        ("0.17.1", "0.4.2", MAMBA),
    ],
)
def test_the_class_has_the_pattern(program: str, megatron_lm: str, bridge: str, provider: str) -> None:
    t = made(f"--hybrid-layer-pattern *-|*-/*- --pipeline-model-parallel-size 2 {SPEC}", megatron_lm, bridge, program)
    assert t.errors == ()
    said = settings(t)
    assert said["model._target_"] == provider
    assert said["model.hybrid_layer_pattern"] == "*-|*-/*-"
    assert said["model.is_hybrid_model"] is True
    assert said["model.num_layers"] == 4 and said["model.mtp_num_layers"] == 1
    assert "model.hybrid_override_pattern" not in said
    assert not any(path.endswith("stack_spec") for path in said)  # the usual layers are not written


def test_the_old_name_of_the_pattern_is_written_once() -> None:
    said = settings(made("--hybrid-override-pattern *-"))
    assert said["model.hybrid_layer_pattern"] == "*-" and "model.hybrid_override_pattern" not in said


def test_an_old_bridge_has_the_pattern_under_its_old_name() -> None:
    said = settings(made(f"--hybrid-layer-pattern *-M {SPEC}", "0.17.1", "0.3.1"))
    assert (said["model._target_"], said["model.hybrid_override_pattern"]) == (MAMBA, "*-M")


def test_defaults_of_the_class_that_are_others_are_written() -> None:
    """Bridge's hybrid class has bf16, no dropout, no biases, no positions, and others of its own."""
    typed = f"pretrain_hybrid.py {SMALL_TEXT} --hybrid-layer-pattern *-".split()
    said = settings(bridge_args.translate(typed, world_size=1, megatron_lm="0.19.0", bridge="0.6.2"))
    names = (
        "bf16 params_dtype mtp_num_layers num_attention_heads attention_backend hidden_dropout attention_dropout "
        "add_bias_linear normalization attention_softmax_in_fp32 masked_softmax_fusion "
        "share_embeddings_and_output_weights seq_length position_embedding_type"
    )
    assert [name for name in names.split() if f"model.{name}" not in said] == []


def test_layers_of_ones_own_go_to_the_setting_of_the_class() -> None:
    words = "--hybrid-layer-pattern *- --spec mine layers"
    for megatron_lm, bridge, name in (("0.19.0", "0.6.2", "hybrid"), ("0.18.2", "0.5.1", "mamba")):
        spec = settings(made(words, megatron_lm, bridge))[f"model.{name}_stack_spec"]
        assert isinstance(spec, Built) and spec.kwargs == {"module_path": ["mine", "layers"]}


def errors(t: bridge_args.Translation) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.arguments) for finding in t.errors]


@pytest.mark.parametrize(
    ("words", "argument"),
    [
        ("--hybrid-layer-pattern *-|*-|*-|*- --pipeline-model-parallel-size 2", "hybrid_layer_pattern"),
        ("--hybrid-layer-pattern +-+-", "multi_latent_attention"),
        ("--hybrid-layer-pattern D-D-", "multi_latent_attention"),
        ("--hybrid-layer-pattern *- --multi-latent-attention", "multi_latent_attention"),
        ("--hybrid-layer-pattern *- --position-embedding-type yarn", "position_embedding_type"),
    ],
)
def test_what_bridge_refuses(words: str, argument: str) -> None:
    assert ("bridge-rejects", (argument,)) in errors(made(words))


@pytest.mark.parametrize(
    ("pattern", "bridge"), [("*|-", "0.3.1"), ("*-/*-", "0.3.1"), ("G-", "0.3.1"), ("D-", "0.4.2"), ("+-", "0.5.1")]
)
def test_letters_that_a_bridge_does_not_know(pattern: str, bridge: str) -> None:
    t = made(f"--hybrid-layer-pattern {pattern}", "0.19.0", bridge)
    found = [finding.message for finding in t.errors if finding.arguments == ("hybrid_layer_pattern",)]
    assert found and "use a later Bridge" in found[0]


def test_a_pattern_is_never_lost_in_silence() -> None:
    t = made("--hybrid-layer-pattern *-", program="pretrain_gpt.py")
    (finding,) = [finding for finding in t.errors if finding.arguments == ("hybrid_layer_pattern",)]
    assert (finding.kind, finding.changes, finding.level) == ("no-equivalent", "model", "error")


@pytest.mark.parametrize(
    "words", ["--use-rope-scaling", "--data-path /data/text --fim-data --fim-rate 0.5 --fim-spm-rate 0.5"]
)
def test_what_only_pretrain_gpt_reads_is_told(words: str) -> None:
    """Its data set has no middle to fill in, and its rotary positions are not scaled."""
    flag = next(word for word in words.split() if word in ("--use-rope-scaling", "--fim-data"))
    small = SMALL_TEXT.replace("--mock-data", "") if flag == "--fim-data" else SMALL_TEXT
    told = {}
    for program in ("pretrain_hybrid.py --hybrid-layer-pattern *-", "pretrain_gpt.py"):
        t = bridge_args.translate(f"{program} {small} {ROPE} {words}".split(), 8, "0.19.0", "0.6.2")
        told[program[:15]] = [f.kind for f in t.findings if flag in f.message and "no effect" in f.message]
        written = any("rope_scaling" in path or "fim" in path for path in settings(t))
        assert written is program.startswith("pretrain_gpt")
    assert told == {"pretrain_hybrid": ["ignored-by-megatron"], "pretrain_gpt.py": []}
