"""An adapter of Bridge's LoRA in the weights of its checkpoint: what is added, what is said then, and what is refused.

``BRIDGE_ARGS_MERGES=1`` merges adapters with other settings, too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import converting
import pytest
import tiny_models
import yaml
from megatron_logits import TOKENS

from bridge_args.bridge import installed
from bridge_args.checkpoint import contents
from bridge_args.cli.main import main
from bridge_args.convert import auto_bridge, merge_bridge, output
from bridge_args.convert.auto_bridge import Machine
from bridge_args.errors import UserError
from bridge_args.versions import PROVEN

if missing := installed.missing(PROVEN.bridge):
    pytest.skip(str(missing), allow_module_level=True)
pytest.importorskip("transformers")

HELPER = Path(__file__).resolve().parents[1] / "helpers" / "megatron_adapter.py"
THOROUGH = pytest.mark.skipif(os.environ.get("BRIDGE_ARGS_MERGES") != "1", reason="BRIDGE_ARGS_MERGES=1 tries it, too")
TARGETS = ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"]
SETTINGS: dict[str, Any] = dict(dim=8, alpha=12, target_modules=TARGETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``hf``, ``base`` of it, ``adapter`` for that, ``logits.json`` with it, ``merged`` and ``exported``."""
    there = tmp_path_factory.mktemp("merge")
    tiny_models.make(there / "hf", "llama", "float32")
    converting.checkpoint(there, "import", "hf", "-o", "base")
    adapter(there, SETTINGS)
    before = converting.sums(there / "base") | converting.sums(there / "adapter")
    said = merge(there, "--export-hf", "exported", "--hf-model", "hf")
    assert "its logits are those of base and adapter within" in said
    assert before == converting.sums(there / "base") | converting.sums(there / "adapter")
    return there


def adapter(folder: Path, settings: dict[str, Any]) -> None:
    words = [sys.executable, HELPER, "base", "adapter", json.dumps(settings), "logits.json"]
    with (folder / "log").open("w") as log:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=600)
    assert done.returncode == 0, (folder / "log").read_text()[-3000:]


def merge(folder: Path, *words: str, code: int = 0) -> str:
    return converting.checkpoint(
        folder, "merge-lora", "adapter", "--base-megatron", "base", "-o", "merged", *words, code=code
    )


def tensors(path: Path) -> dict[str, Any]:
    """Of a checkpoint, by PyTorch's own reader."""
    import torch
    from torch.distributed import checkpoint

    place = contents.look_into(path).place.folder
    held = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in checkpoint.FileSystemReader(place).read_metadata().state_dict_metadata.items()
        if hasattr(entry, "size")
    }
    checkpoint.load(held, checkpoint_id=str(place), no_dist=True)
    return held


def assert_merged(folder: Path, settings: dict[str, Any]) -> None:
    import torch

    base, low, after = (tensors(folder / name) for name in ("base", "adapter", "merged"))
    assert base.keys() == after.keys()
    products = 0
    for name, weight in base.items():
        of = name.removesuffix("weight") + "adapter.linear_"
        if f"{of}in.weight" in low:
            product = low[f"{of}out.weight"].float() @ low[f"{of}in.weight"].float()
            weight = weight.float() + settings["alpha"] / settings["dim"] * product
            products += 1
            assert not torch.equal(after[name].float(), base[name].float())
            eps = torch.finfo(after[name].dtype).eps
            assert torch.allclose(after[name].float(), weight, rtol=eps, atol=1e-6), name
        else:
            assert torch.equal(after[name], weight), name
    assert 2 * products == len(low)


def test_a_merged_weight_is_base_plus_scaled_product(folder: Path) -> None:
    assert_merged(folder, SETTINGS)


def test_the_exported_model_says_what_base_and_adapter_say(folder: Path) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "exported").eval()
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder / "hf").eval()
    with torch.no_grad():
        said, before = (one(torch.tensor([TOKENS])).logits[0] for one in (model, plain))
    meant = torch.tensor(json.loads((folder / "logits.json").read_text()))[:, : said.shape[1]]
    assert (said - meant).abs().max() < 1e-3
    assert (before - meant).abs().max() > 0.1


def test_the_checkpoint_is_one_of_bridges_with_the_settings_of_the_base(folder: Path) -> None:
    found = contents.look_into(folder / "merged")
    assert (found.place.kind and found.place.kind.name, found.complete) == ("bridge", True)
    ours, theirs = (
        yaml.safe_load(next((folder / one).glob("iter_*/run_config.yaml")).read_text()) for one in ("merged", "base")
    )
    assert ours["model"] == theirs["model"] and not ours.get("peft")
    assert ours["checkpoint"]["save"] == str(folder / "merged")
    said = json.loads((folder / "merged" / "conversion.json").read_text())
    assert said["lora"]["dim"] == 8 and said["lora"]["exclude_modules"] == []
    assert said["inputs"]["adapter"]["base_is_by"] == "path"


# ---------------------------------------------------------------- what is refused


def configured(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = next((folder / "adapter").glob("iter_*/run_config.yaml"))
        said = yaml.safe_load(file.read_text())
        change(said)
        file.write_text(yaml.safe_dump(said))

    return apply


def peft(**settings: Any) -> Callable[[Path], None]:
    return configured(lambda said: said["peft"].update(settings))


def without_run_config(folder: Path) -> None:
    next((folder / "adapter").glob("iter_*/run_config.yaml")).unlink()


def torn(folder: Path) -> None:
    file = next((folder / "adapter").glob("iter_*/__0_0.distcp"))
    os.truncate(file, file.stat().st_size // 2)


def of_peft(folder: Path) -> None:
    shutil.rmtree(folder / "adapter")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}")


def the_base_as_adapter(folder: Path) -> None:
    shutil.rmtree(folder / "adapter")
    shutil.copytree(folder / "base", folder / "adapter")


BY_SETTINGS = [
    pytest.param(without_run_config, "Bridge would take its defaults", id="no run config"),
    pytest.param(configured(lambda said: said.pop("peft")), "no section peft", id="no peft"),
    pytest.param(peft(_target_="megatron.bridge.peft.dora.DoRA"), "DoRA scales the whole weight", id="DoRA"),
    pytest.param(peft(_target_="os.system"), "peft is os.system: only LoRA", id="something to run"),
    pytest.param(peft(dim={"_target_": "os.system"}), "peft.dim is .*no number above 0", id="something to run inside"),
    pytest.param(peft(dim=None), "peft.dim is None, and no number above 0", id="no dim"),
    pytest.param(peft(alpha=0), "peft.alpha is 0, and no number", id="no alpha"),
    pytest.param(peft(lora_dtype="torch.int8"), "peft.lora_dtype is int8", id="another dtype"),
    pytest.param(peft(canonical_mapping={"a": 1}), "canonical_mapping is set", id="canonical_mapping"),
    pytest.param(
        configured(lambda said: said["checkpoint"].update(pretrained_checkpoint="/elsewhere")),
        "add --base-is /elsewhere",
        id="another base",
    ),
    pytest.param(torn, "is not whole", id="torn"),
    pytest.param(of_peft, "is an adapter of PEFT's", id="of PEFT"),
    pytest.param(the_base_as_adapter, "no section peft", id="the base as adapter"),
]
# Only Bridge knows what its settings make of a base.
BY_SHAPES = [
    pytest.param(peft(dim=4), "has other shapes than its settings mean", id="another dim"),
    pytest.param(peft(target_modules=["linear_qkv"]), "the settings none, for", id="fewer layers", marks=THOROUGH),
    pytest.param(
        peft(target_modules=[*TARGETS, "output_layer"]), "the adapter lacks", id="more layers", marks=THOROUGH
    ),
    pytest.param(peft(of_next_year=1), "has no of_next_year", id="unknown setting", marks=THOROUGH),
]


@pytest.mark.parametrize(("change", "why"), [*BY_SETTINGS, *BY_SHAPES])
def test_what_is_refused(
    change: Callable[[Path], None],
    why: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("base", "adapter"):
        shutil.copytree(folder / name, tmp_path / name)
    configured(lambda said: said["checkpoint"].update(pretrained_checkpoint=str(tmp_path / "base")))(tmp_path)
    change(tmp_path)
    before = converting.sums(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["checkpoint", "merge-lora", "adapter", "--base-megatron", "base", "-o", "merged", "--device", "cpu"]
    assert main(words) == 1
    assert re.search(why, said := capsys.readouterr().err), said
    assert converting.sums(tmp_path) == before


def test_every_reason_is_told_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "adapter", tmp_path / "adapter")
    peft(dim=0, canonical_mapping={"a": 1})(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [
        "checkpoint",
        "merge-lora",
        "adapter",
        "--base-megatron",
        "nowhere",
        "-o",
        "adapter/in",
        "--export-hf",
        ".",
    ]
    assert main(words) == 1
    said = capsys.readouterr().err
    for why in (
        "peft.dim is 0",
        "canonical_mapping",
        "nowhere does not exist",
        "lies inside of the input",
        "--base-is",
    ):
        assert why in said, said


EXPERTS = "decoder.layers.mlp.experts.experts.linear_fc1.adapter.linear_in.weight"


@pytest.mark.parametrize(
    ("name", "shape", "of_each"),
    [
        (EXPERTS, (2, 4, 8, 64), [True]),
        (EXPERTS, (2, 8, 64), [False]),
        (EXPERTS.replace("layers.", "layers.1."), (4, 8, 64), [True]),
        (EXPERTS.replace("layers.", "layers.1."), (8, 64), [False]),
        (EXPERTS.replace(".experts.experts", ""), (2, 8, 64), []),
    ],
)
def test_what_experts_of_several_processes_have_learned_is_theirs(
    name: str, shape: tuple[int, ...], of_each: list[bool]
) -> None:
    """An adapter for every expert is read as one, and not as the mean of them."""
    from dataclasses import dataclass

    from bridge_args.convert import lora_process

    @dataclass
    class LoRA:
        share_expert_adapters: bool = True

    assert lora_process.by_expert({name: shape}) == of_each
    plan = lora_process.Plan("", "", {name: shape}, {"share_expert_adapters": True}, "")
    made = lora_process._settings(None, LoRA, plan)
    assert made == {"share_expert_adapters": of_each != [True]}


def test_an_adapter_of_the_first_experts_alone_is_told(folder: Path) -> None:
    found = contents.look_into(folder / "adapter")
    part = next(tensor for tensor in found.tensors if tensor.name.endswith("linear_fc1.adapter.linear_in.weight"))
    of_experts = found._replace(tensors=(part._replace(name=EXPERTS),))
    (note,) = merge_bridge._notes(of_experts, {"expert_model_parallel_size": 2})
    assert "experts in 2 parts" in note and "only that of the first" in note
    assert [*merge_bridge._notes(of_experts, {"expert_model_parallel_size": 1})] == []
    assert [*merge_bridge._notes(found, {"expert_model_parallel_size": 2})] == []


@THOROUGH
@pytest.mark.skipif((installed.version() or "") < "0.6", reason="older ones save one adapter for all experts")
def test_experts_that_were_divided_among_processes(tmp_path: Path) -> None:
    """What two processes save that share an adapter among their experts is what one saves with an adapter for each."""
    tiny_models.make(tmp_path / "hf", "qwen3_moe", "float32")
    converting.checkpoint(tmp_path, "import", "hf", "-o", "base")
    settings: dict[str, Any] = dict(dim=8, alpha=16, share_expert_adapters=False)
    adapter(tmp_path, settings)
    peft(share_expert_adapters=True)(tmp_path)
    merge(tmp_path)
    assert_merged(tmp_path, settings)


def test_a_head_that_shares_its_weight_is_not_merged() -> None:
    from types import SimpleNamespace as Object

    import torch

    from bridge_args.convert import lora_process

    adapter = Object(base_linear_name="output_layer", alpha=2, dim=1)
    with pytest.raises(ValueError, match="output_layer has no weight of its own"):
        lora_process._merge(torch, Object(adapter=adapter, to_wrap=Object(weight=None)))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--base", "x", "--base-megatron", "y"], "two bases"),
        ([], "--base DIR, or --base-megatron DIR"),
        (["--backend", "megatron_bridge", "--base", "x"], "--base-megatron DIR"),
        (["--base", "x", "--export-hf", "y"], "go with --base-megatron"),
        (["--base-megatron", "x", "--hf-model", "y"], "--hf-model goes with --export-hf"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "merge-lora", "adapter", "-o", "merged", *words]) == 1
    assert why in capsys.readouterr().err


def to_a_full_disk(folder: Path, to: Path) -> str:
    """What is said of it; the base and the adapter stay as they are, and nothing is there."""
    before = converting.sums(folder / "base") | converting.sums(folder / "adapter")
    asked = merge_bridge.Asked(folder / "adapter", folder / "base", to / "merged", base_is="base", smoke=False)
    with pytest.raises(UserError) as stopped:
        merge_bridge.merged(asked, Machine("cpu", lambda line: None))
    assert before == converting.sums(folder / "base") | converting.sums(folder / "adapter")
    assert list(to.iterdir()) == []
    return str(stopped.value)


@pytest.mark.parametrize("place", ["_with_the_base_s_settings", "_checked", "Provenance.write", "os.rename"])
def test_a_full_disk_leaves_nothing(place: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **named: object) -> None:
        raise OSError(28, "No space left on device", "merged")

    monkeypatch.setattr(auto_bridge, "run", lambda *words: {"merged": 1})
    for name in ("_with_the_base_s_settings", "_checked"):
        monkeypatch.setattr(merge_bridge, name, lambda *words: [])
    holder, _, name = place.rpartition(".")
    holders = {"": merge_bridge, "Provenance": merge_bridge.Provenance, "os": output.os}
    monkeypatch.setattr(holders[holder], name, full)
    assert to_a_full_disk(folder, tmp_path) == "merged: No space left on device; nothing was made"


@pytest.mark.parametrize("changed", ["base", "adapter"])
def test_an_input_that_is_saved_again_meanwhile(
    changed: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in ("base", "adapter"):
        shutil.copytree(folder / one, tmp_path / one)

    def run(*words: object) -> dict[str, int]:
        file = next((tmp_path / changed).rglob("run_config.yaml"))
        file.write_bytes(file.read_bytes() + b"\n")
        return {"merged": 1}

    monkeypatch.setattr(auto_bridge, "run", run)
    for name in ("_with_the_base_s_settings", "_checked"):
        monkeypatch.setattr(merge_bridge, name, lambda *words: [])
    asked = merge_bridge.Asked(
        tmp_path / "adapter", tmp_path / "base", tmp_path / "merged", base_is="base", smoke=False
    )
    with pytest.raises(UserError, match="run_config.yaml changed while it was read"):
        merge_bridge.merged(asked, Machine("cpu", lambda line: None))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["adapter", "base"]


@THOROUGH
@pytest.mark.parametrize("size", ["100k", "700k"])
def test_a_disk_that_is_full_while_bridge_saves(
    size: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    monkeypatch.setattr(output, "reasons_against", lambda *words: [])  # there was room when it began
    try:
        said = to_a_full_disk(folder, disk)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert said == f"the merge stopped: the disk of {disk} is full; nothing was made"


@THOROUGH
@pytest.mark.parametrize("after", [3, 8, 14])
def test_a_killed_merge_leaves_no_result_and_the_inputs(after: int, folder: Path, tmp_path: Path) -> None:
    before = converting.sums(folder / "base") | converting.sums(folder / "adapter")
    words = ["checkpoint", "merge-lora", folder / "adapter", "--base-megatron", folder / "base", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge_args", *map(str, words), "-o", str(tmp_path / "merged")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "merged").exists() or contents.look_into(tmp_path / "merged").complete
    assert before == converting.sums(folder / "base") | converting.sums(folder / "adapter")
    assert output.reasons_against(tmp_path / "again", []) == []


@THOROUGH
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(dict(dim=4, alpha=32, target_modules=[], exclude_modules=["linear_fc1"]), id="exclude_modules"),
        pytest.param(
            dict(dim=4, alpha=2, target_modules=["*.self_attention.linear_proj", "linear_fc2"]), id="wildcards"
        ),
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_other_settings(settings: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    tiny_models.make(tmp_path / "hf", "qwen2", dtype)
    converting.checkpoint(tmp_path, "import", "hf", "-o", "base")
    adapter(tmp_path, settings)
    merge(tmp_path)
    assert_merged(tmp_path, settings)
