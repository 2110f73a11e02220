"""``bridge-args migrate run-config``: files of nemo.tron and of other versions of Bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge_args.cli.main import main
from bridge_args.migrate.run_config import moved

SAMPLES = sorted((Path(__file__).parents[2] / ".." / "shared" / "nemo_tron").glob("*.yaml"))


def tron(**settings: Any) -> dict[str, Any]:
    """A small file of nemo.tron: its model, with more settings of it."""
    model = {
        "_target_": "nemo.collections.llm.gpt.model.llama.Llama31Config8B",
        "num_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "params_dtype": {"_call_": False, "_target_": "torch.bfloat16"},
        "pipeline_dtype": None,
        "scale_factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "old_context_len": 8192,
        "forward_step_fn": {"_call_": False, "_target_": "my_project.steps.forward_step"},
        **settings,
    }
    return {
        "_target_": "nemo.tron.config.ConfigContainer",
        "checkpoint_config": {
            "_target_": "nemo.tron.config.CheckpointConfig",
            "auto_detect_ckpt_format": False,
            "save": "/ckpt",
            "save_rng": True,
        },
        "ft_config": None,
        "model_config": model,
        "profiling_config": {"_target_": "nemo.tron.config.ProfilingConfig", "profile": True},
    }


def written(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "run_config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def test_sections_classes_and_settings_get_bridges_names() -> None:
    config = moved(tron(), "0.3.1").config
    assert config["_target_"] == "megatron.bridge.training.config.ConfigContainer"
    assert config["checkpoint"]["_target_"] == "megatron.bridge.training.config.CheckpointConfig"
    assert config["checkpoint"].items() >= {"save": "/ckpt", "save_rng": True}.items()
    assert "auto_detect_ckpt_format" not in config["checkpoint"]
    assert config["ft"] is None
    assert config["profiling"]["use_nsys_profiler"] is True
    model = config["model"]
    assert model["_target_"] == "megatron.bridge.models.gpt_provider.GPTModelProvider"
    assert model["pipeline_dtype"] == {"_call_": False, "_target_": "torch.bfloat16"}
    assert (model["rope_scaling"], model["rope_scaling_factor"]) == (True, 8.0)


def test_every_setting_is_in_the_result_or_in_the_report() -> None:
    for version in ("0.2.2", "0.3.1", "0.4.2", "0.5.1", "0.6.2"):
        done = moved(tron(), version)
        told = {change.old: change for change in done.changes}
        for section, body in tron().items():
            for name in body if isinstance(body, dict) else ():
                path = f"{section}.{name}"
                if name == "_target_":
                    continue
                assert told[path].fate in ("renamed", "changed", "dropped", "lost"), (version, path)


def test_what_the_guide_sets_is_set_on_request_only() -> None:
    plain, documented = (moved(tron(masked_softmax_fusion=True), "0.3.1", as_documented=one) for one in (False, True))
    assert plain.config["checkpoint"]["save_rng"] is True
    assert plain.config["model"]["masked_softmax_fusion"] is True
    assert documented.config["checkpoint"]["save_rng"] is False
    assert documented.config["model"]["masked_softmax_fusion"] is False
    assert any("as documented" in change.reason for change in documented.changes)


def test_another_scaling_than_megatron_cores_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, tron(low_freq_factor=2.0))
    before = file.read_bytes()
    assert main(["migrate", "run-config", str(file), "--in-place", "--to-bridge", "0.3.1"]) == 1
    assert "model_config.low_freq_factor: 2.0 is lost: Megatron Core has 1 in its code" in capsys.readouterr().err
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_evaluation_has_a_section_of_its_own_and_comes_back() -> None:
    old = {"train": {"_target_": "megatron.bridge.training.config.TrainingConfig", "eval_iters": 7, "train_iters": 9}}
    new = moved(old, "0.6.2", "0.3.1").config
    assert new["validation"]["eval_iters"] == 7 and "eval_iters" not in new["train"]
    assert new["validation"]["eval_interval"] == 1000, "the default of 0.3.1 is no default any more"
    back = moved(new, "0.3.1", "0.6.2").config
    assert back["train"]["eval_iters"] == 7 and "validation" not in back


def test_a_default_that_is_another_one_is_written_out() -> None:
    old = {"dataset": {"_target_": "megatron.bridge.training.config.GPTDatasetConfig", "sequence_length": 8}}
    done = moved(old, "0.6.2", "0.3.1")
    assert done.config["dataset"]["num_workers"] == 8
    assert "dataset.num_workers: 8 is added: it is the default of Bridge 0.3.1; that of" in "".join(
        str(change) for change in done.changes
    )


def test_in_place_keeps_the_old_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (written(tmp_path / f"iter_000000{number}", tron()) for number in (1, 2))
    before = one.read_bytes()
    command = ["migrate", "run-config", str(tmp_path), "--in-place", "--to-bridge", "0.6.2"]
    assert main(command) == 0
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert (
        sorted(path.name for path in after)
        == ["run_config.yaml", "run_config.yaml.bak"] * 1
        + [
            "run_config.yaml",
            "run_config.yaml.bak",
        ]
        or len(after) == 4
    )
    assert one.with_name("run_config.yaml.bak").read_bytes() == before != one.read_bytes()
    assert two.read_bytes() == one.read_bytes()
    assert main(command) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == after
    assert "it was not written" in capsys.readouterr().err


def test_a_dry_run_shows_the_difference_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, tron())
    assert main(["migrate", "run-config", str(file), "--dry-run", "--to-bridge", "0.3.1"]) == 0
    shown = capsys.readouterr().out
    assert "-checkpoint_config:\n" in shown and "+checkpoint:\n" in shown
    assert list(tmp_path.iterdir()) == [file] and yaml.safe_load(file.read_text()) == tron()


def test_the_report_has_everything_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tron()
    config["logger_config"] = {"_target_": "nemo.tron.config.LoggerConfig", "wandb_key": "0123456789abcdef0123456789"}
    file = written(tmp_path, config)
    assert main(["migrate", "run-config", str(file), "--report", "json", "--to-bridge", "0.3.1"]) == 0
    streams = capsys.readouterr()
    (told,) = json.loads(streams.out)["files"]
    assert (told["from"], told["to"], told["settings"]) == ("nemo.tron", "0.3.1", 16)
    fates = {change["old"]: change["fate"] for change in told["changes"]}
    assert fates["logger_config.wandb_key"] == "lost"
    assert "0123456789abcdef" not in streams.out + streams.err


@pytest.mark.skipif(not SAMPLES, reason="the samples are not beside the repository")
@pytest.mark.parametrize("version", ["0.3.1", "0.6.2"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples(sample: Path, version: str) -> None:
    config = yaml.safe_load(sample.read_text(encoding="utf-8"))
    done = moved(config, version)
    assert not done.refused
    again = moved(done.config, version)
    assert again.config == done.config and again.changes == ()


def test_a_class_by_name_becomes_its_base_with_what_it_set() -> None:
    llama = "megatron.bridge.models.llama.llama_provider.Llama31ModelProvider8B"
    done = moved({"model": {"_target_": llama, "seq_length": 8}}, "0.6.2", "0.3.1")
    model = done.config["model"]
    assert model["_target_"] == "megatron.bridge.models.gpt_provider.GPTModelProvider"
    assert model.items() >= {"num_layers": 32, "rotary_base": 500000, "rope_scaling": True, "seq_length": 8}.items()
    assert model["activation_func"] == {"_call_": False, "_target_": "torch.nn.functional.silu"}
    assert not done.refused


def test_a_class_with_code_of_its_own_stops_it() -> None:
    vision = "megatron.bridge.models.qwen_vl.qwen25_vl_provider.Qwen25VLModelProvider"
    assert moved({"model": {"_target_": vision}}, "0.6.2", "0.3.1").config["model"]["_target_"] == vision
    gone = "megatron.bridge.models.gpt_oss.gpt_oss_provider.GPTOSSProvider20B"
    (stop,) = moved({"model": {"_target_": gone}}, "0.6.2", "0.3.1").refused
    assert "whose provide its base does not do" in stop.reason


def test_numbers_of_multiprocessors_are_one_setting_since_0_6() -> None:
    old = {"model": {"_target_": "megatron.bridge.models.gpt_provider.GPTModelProvider", "moe_deepep_num_sms": 24}}
    new = moved(old, "0.6.2", "0.3.1").config
    assert new["model"]["moe_flex_dispatcher_num_sms"] == 24 and "moe_deepep_num_sms" not in new["model"]
    back = moved(new, "0.3.1", "0.6.2").config
    assert back["model"]["moe_deepep_num_sms"] == 24 and "moe_flex_dispatcher_num_sms" not in back["model"]


def test_parts_in_cuda_graphs_are_members_of_another_enum() -> None:
    provider = "megatron.bridge.models.gpt_provider.GPTModelProvider"
    old = {"model": {"_target_": provider, "cuda_graph_scope": "attn,moe_router"}}
    new = moved(old, "0.6.2", "0.3.1").config["model"]["cuda_graph_modules"]
    assert [one["_target_"].rpartition(".")[2] for one in new] == ["CudaGraphModule"] * 2
    back = moved({"model": {"_target_": provider, "cuda_graph_modules": new}}, "0.3.1", "0.6.2").config["model"]
    assert [one["_target_"].rpartition(".")[2] for one in back["cuda_graph_scope"]] == ["CudaGraphScope"] * 2


@pytest.mark.parametrize("version", ["0.2.2", "0.3.1", "0.4.2", "0.5.1", "0.6.2"])
def test_a_file_of_the_same_version_is_not_touched(version: str) -> None:
    config = moved(tron(), version).config
    done = moved(config, version)
    assert (done.writer.name, done.config, done.changes) == (version, config, ())


def test_packing_of_finetuning_data_has_a_switch_since_0_6() -> None:
    specs = {"_target_": "megatron.bridge.data.datasets.packed_sequence.PackedSequenceSpecs", "packed_sequence_size": 8}
    old = {
        "dataset": {
            "_target_": "megatron.bridge.training.config.FinetuningDatasetConfig",
            "seq_length": 8,
            "packed_sequence_specs": specs,
        }
    }
    new = moved(old, "0.6.2", "0.3.1").config
    data = new["dataset"]
    assert data["_target_"] == "megatron.bridge.data.builders.gpt_sft.GPTSFTDatasetConfig"
    assert data["enable_offline_packing"] is True and data["offline_packing_specs"]["packed_sequence_size"] == 8
    assert data["offline_packing_specs"]["_target_"] == "megatron.bridge.data.packing.config.PackedSequenceSpecs"
    back = moved(new, "0.3.1", "0.6.2").config["dataset"]
    assert back["packed_sequence_specs"] == specs and "enable_offline_packing" not in back


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_strict_makes_an_error_of_a_loss(strict: tuple[str, ...], code: int, tmp_path: Path) -> None:
    provider = {"_target_": "megatron.bridge.models.gpt_provider.GPTModelProvider", "dsa_indexer_topk": 8}
    file = written(tmp_path, {"model": provider})
    out = tmp_path / "out.yaml"
    words = ["migrate", "run-config", str(file), "--from-bridge", "0.3.1", "--to-bridge", "0.2.2", "-o", str(out)]
    assert main([*words, *strict]) == code
    assert out.exists() is (code == 0)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("optimizer: {lr: fast}", "optimizer.lr takes float | None, not 'fast'"),
        ("optimizer: {lr: it's fast}", 'optimizer.lr takes float | None, not "it\'s fast"'),
        ("scheduler: 5", "scheduler takes megatron.bridge.training.config.SchedulerConfig, not 5"),
    ],
)
def test_a_value_that_is_none_is_told(line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run_config.yaml"
    file.write_text(f"train: {{train_iters: 5}}\ndist: {{lazy_init: false}}\n{line}\n", encoding="utf-8")
    words = ["migrate", "run-config", str(file), "-o", str(tmp_path / "new.yaml"), "--to-bridge", "0.6.2"]
    assert main(words) == 0
    assert f"warning: {file}: {told}" in capsys.readouterr().err
