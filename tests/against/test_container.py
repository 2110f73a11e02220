"""Bridge is the judge: the container it builds and validates from our run config, on a machine without a GPU."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import bridge_args
from bridge_args.mapping.goes_to import settings_of
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.training import container

ROOT = Path(__file__).resolve().parents[2]
try:
    container._import("training.config")
except container.BridgeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

SMALL = [
    "--num-layers", "2", "--hidden-size", "64", "--num-attention-heads", "4", "--seq-length", "32",
    "--max-position-embeddings", "32", "--micro-batch-size", "2", "--global-batch-size", "8", "--train-iters", "5",
    "--lr", "1e-3", "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "1023",
    "--eval-interval", "100",
]  # fmt: skip
LENGTH = settings_of("seq_length", chosen_versions().bridge)[1].partition(".")[2]


def run_config(*more: str) -> dict[str, Any]:
    return bridge_args.to_run_config(bridge_args.translate([*SMALL, *more], world_size=2))


def test_values_and_what_bridge_computes() -> None:
    built = container.build(run_config(), 2, {})
    assert built.model.num_layers == 2
    assert built.data_parallel_size == 2
    assert built.scheduler.lr_decay_steps == 5 * 8  # iterations x samples


def test_the_run_config_is_not_changed() -> None:
    given = run_config()
    before = copy.deepcopy(given)
    container.build(given, 2, {})
    assert given == before


def test_no_traces() -> None:
    """A later rehearsal in this process must not find another machine than the one there is."""
    environment, modules = dict(os.environ), set(sys.modules)
    import torch

    answers = torch.cuda.is_available, torch.cuda.get_device_capability
    deterministic = torch.are_deterministic_algorithms_enabled()
    container.build(
        run_config("--use-precision-aware-optimizer", "--use-distributed-optimizer"), 2, {"NCCL_ALGO": "Ring"}
    )
    assert dict(os.environ) == environment
    assert (torch.cuda.is_available, torch.cuda.get_device_capability) == answers
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    for package in ("transformer_engine", "triton"):
        if package not in modules:
            assert not any(name.split(".")[0] == package for name in sys.modules)


def test_an_unknown_setting() -> None:
    given = run_config()
    given["train"]["global_batch_sizes"] = 8
    with pytest.raises(container.BridgeRejects, match="global_batch_sizes"):
        container.build(given, 2, {})


@pytest.mark.parametrize(
    ("section", "field", "value", "paths"),
    [
        ("dataset", LENGTH, 64, ()),  # the message of Bridge has no field by name
        ("model", "expert_model_parallel_size", 2, ("model.num_moe_experts",)),
        ("scheduler", "lr_decay_samples", 100, ("scheduler.lr_decay_iters", "scheduler.lr_decay_samples")),
    ],
    ids=["no name in the message", "the section that checks", "names of another section"],
)
def test_a_rejection_names_settings(section: str, field: str, value: object, paths: tuple[str, ...]) -> None:
    given = run_config()
    given[section][field] = value
    with pytest.raises(container.BridgeRejects) as rejection:
        container.build(given, 2, {})
    assert rejection.value.message
    assert set(paths) <= set(rejection.value.paths)
    assert rejection.value.valueless == ()


def test_nothing_but_the_result_goes_to_stdout() -> None:
    """Bridge, Megatron Core and what they import have words of their own while they are imported."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "validate", "--world-size", "2", "--", *SMALL],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "accepts the configuration" in done.stderr
    assert "Traceback" not in done.stderr and "INFO" not in done.stderr


def test_a_rejection_in_the_users_terms() -> None:
    translation = bridge_args.translate(SMALL, world_size=2)
    rejection = container.BridgeRejects("too many", ("model.num_layers",))
    assert "model.num_layers = 2 from --num-layers 2" in str(container.in_terms_of(translation, rejection))


def test_the_drop_in_says_what_to_do_without_a_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "bridge_args.pretrain_gpt", *SMALL]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "bridge-args rehearse" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_drop_in_refuses_a_bad_command_line_before_anything_starts() -> None:
    command = [sys.executable, "-m", "bridge_args.pretrain_gpt", *SMALL, "--num-layer", "3"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "--num-layer is not an argument" in result.stderr
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)


def test_the_drop_in_trains_under_the_emulation() -> None:
    command = [sys.executable, "-m", "bridge_args.pretrain_gpt", *SMALL, "--eval-iters", "0", "--log-interval", "1"]
    environment = {**os.environ, "BRIDGE_ARGS_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    assert "iteration        5/       5" in result.stdout
    assert "replaced: NCCL" in result.stderr


TYPED = (
    "/tb/${oc.env:HOME}",
    r"/tb/\${oc.env:HOME}",
    r"\\${x}",
    "${oc.decode:'1'}",
    "${model.num_layers}",
    "a${",
    "${oc.env:NOWHERE,fallback}",
    "$HOME/${HOME}/$$",
    "${${oc.env:HOME}}",
    "x}${y}{",
    "'${a}'\"${b}\"",
)


@pytest.mark.parametrize("text", TYPED)
def test_what_looks_like_an_interpolation_stays_the_text_that_was_typed(text: str, tmp_path: Path) -> None:
    """Megatron-LM knows no interpolations. OmegaConf and Bridge's own loaders are the judges."""
    import json

    words = ["--tensorboard-dir", text, "--wandb-exp-name", f"a b {text}", "--data-path", "1", text]
    t = bridge_args.translate([word for word in SMALL if word != "--mock-data"] + words, world_size=2)
    config_module = container._import("training.config")
    strict = container._import("utils.instantiate_utils").InstantiationMode.STRICT
    (tmp_path / "c.json").write_text(json.dumps(bridge_args.to_run_config(t)))
    (tmp_path / "c.yaml").write_text(bridge_args.to_yaml(t, full=True))
    for built in (
        bridge_args.to_container(t),
        config_module.ConfigContainer.from_yaml(str(tmp_path / "c.json"), mode=strict),
        config_module.ConfigContainer.from_yaml(str(tmp_path / "c.yaml"), mode=strict),
    ):
        assert built.logger.tensorboard_dir == text
        assert built.logger.wandb_exp_name == f"a b {text}"
        assert list(built.dataset.blend[0]) == [text]


def test_a_variable_that_is_left_open_is_an_interpolation_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge_args.words import Word

    words = [*SMALL, "--tensorboard-dir", Word("/tb/$RUN/${x}", None, ("RUN",))]
    config = bridge_args.to_run_config(bridge_args.translate(words, world_size=2))
    assert config["logger"]["tensorboard_dir"].startswith("/tb/${oc.env:RUN}/")
    monkeypatch.setenv("RUN", "seven")
    assert container.load(config).logger.tensorboard_dir == "/tb/seven/${x}"
