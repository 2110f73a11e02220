"""The drop-in before it trains: what it refuses, what it misses, which rank it is; nothing here imports torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_args.drop_in import main as drop_in
from bridge_args.drop_in import preflight, provenance
from bridge_args.pairs.pairs import usual_megatron_lm
from bridge_args.pretrain_gpt import main
from bridge_args.training.ranks import rank_variables

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--num-layers 2 --hidden-size 32 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16".split()
SMALL += "--micro-batch-size 1 --train-iters 2 --lr 1e-3 --eval-interval 10".split()
NULL = "--tokenizer-type NullTokenizer --vocab-size 100".split()
MOCK = [*NULL, "--mock-data"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that have nothing to say do not wait for the one that has."""
    monkeypatch.setattr(drop_in, "_PATIENCE", 0)


def ranked(rank: int, world: int = 2) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}


def said(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 1) -> str:
    """What rank 0 says; rank 1 ends the same way and says nothing."""
    assert main([*SMALL, *words], ranked(1)) == code
    assert capsys.readouterr().err == ""
    assert main([*SMALL, *words], ranked(0)) == code
    return capsys.readouterr().err


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--num-layer", "2"], "--num-layer is not an argument of Megatron-LM 0."),
        (["--adlr-autoresume"], "start without: --accept adlr_autoresume"),
        (["--accept", "nix"], f"--accept nix: Megatron-LM {usual_megatron_lm()} has no such argument"),
        (["--megatron-lm", "7.0"], "no catalog of Megatron-LM 7.0"),
        (["--bridge", "7.0"], "no schema of Megatron Bridge 7.0"),
        (["--mappings", "nix.yaml"], "nix.yaml cannot be read"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_it_does_not_start(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in said(capsys, [*MOCK, *words])


def test_an_incomplete_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, [*MOCK, "--accept"], code=2).startswith("--accept expects a value")


def test_it_refuses_before_torch_is_imported() -> None:
    program = f"import sys; from bridge_args.pretrain_gpt import main; main({[*SMALL, *MOCK, '--sft']}); "
    program += "print([name for name in sys.modules if name in ('torch', 'megatron')])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and done.stderr.startswith("not started: 1 argument has no equivalent")


# ---------------------------------------------------------------- what is missing


def test_missing_data_is_said_once_with_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(tmp_path, "a.bin").touch()
    Path(tmp_path, "a.idx").touch()
    text = said(capsys, [*NULL, "--data-path", "0.3", f"{tmp_path}/a", "0.7", f"{tmp_path}/b"])
    missing = f"no such data: {tmp_path}/b.bin, {tmp_path}/b.idx (of 2 data sets)"
    assert text == f"not started:\n  {missing}  (--data-path)\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--train-data-path", "nix/t", "--valid-data-path", "nix/v"], "no such data: nix/t.bin, nix/t.idx, nix/v.bin"),
        (["--data-path", "nix/a", "nix/b", "nix/c"], "and 2 more files (of 3 data sets)"),
    ],
    ids=["per split", "many"],
)
def test_missing_blends(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in said(capsys, [*NULL, *words])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["GPT2BPETokenizer", "--vocab-file", "nix/v", "--merge-file", "nix/m"], "no such file: nix/m, which GPT2BPE"),
        (["GPTSentencePieceTokenizer", "--tokenizer-model", "nix/t.model"], "no such file: nix/t.model"),
        (["HuggingFaceTokenizer", "--tokenizer-model", "/nix/hf"], "no such folder: /nix/hf"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_missing_tokenizer(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in said(capsys, ["--mock-data", "--tokenizer-type", *words])


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    text = said(capsys, [*MOCK, "--save", f"{file}/ckpt", "--save-interval", "1"])
    assert text == f"not started:\n  {file} is not a folder, so nothing can be saved in {file}/ckpt  (--save)\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system that refuses")
def test_a_folder_that_refuses_is_said_by_rank_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *MOCK, "--save", "/proc/nix", "--save-interval", "1"], ranked(0)) == 1
    text = capsys.readouterr().err.splitlines()[-1]
    assert text.startswith("not started: nothing can be saved in /proc/nix: ") or "may not be written to" in text


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000, "total": 10**9})
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: usage)
    assert preflight.unwritable(tmp_path / "a" / "b").startswith(f"no room to save in {tmp_path}/a/b: 1000 bytes")


def test_checkpoints_that_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load = ["--load", str(tmp_path)]
    assert "no checkpoint in" in said(capsys, [*MOCK, *load, "--exit-on-missing-checkpoint"])
    Path(tmp_path, "latest_checkpointed_iteration.txt").write_text("4")
    assert "no checkpoint of iteration 6 in" in said(capsys, [*MOCK, *load, "--ckpt-step", "6"])


def test_a_missing_checkpoint_alone_is_no_problem() -> None:
    """Megatron-LM starts from random weights then."""
    config = {"checkpoint": {"load": "nix", "save": None}, "dataset": {}, "tokenizer": None}
    assert preflight.problems(config) == []


def test_iterations_without_a_tracker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bridge looks for none of them, and would start from random weights."""
    (tmp_path / "iter_0000006").mkdir()
    load = ["--load", str(tmp_path), "--ckpt-step"]
    assert "has iteration 6 and no tracker" in said(capsys, [*MOCK, *load, "6"])
    assert "no checkpoint of iteration 7 in" in said(capsys, [*MOCK, *load, "7"])


@pytest.mark.parametrize(("bridge", "found"), [("0.3.1", False), ("0.4.2", True), ("0.6.2", True)])
def test_the_folder_of_one_iteration(tmp_path: Path, bridge: str, found: bool) -> None:
    (tmp_path / "metadata.json").touch()
    for name in ("load", "pretrained_checkpoint"):
        checkpoint = {name: str(tmp_path), "exit_on_missing_checkpoint": name == "load"}
        assert bool(preflight.problems({"checkpoint": checkpoint, "dataset": {}}, bridge)) is not found


def test_a_base_model_that_is_not_there(tmp_path: Path) -> None:
    """Where there is something to load, only Bridge since 0.4 asks for it (config.py CheckpointConfig.finalize)."""
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    checkpoint = {"load": str(tmp_path), "pretrained_checkpoint": str(tmp_path / "none")}
    found = [preflight.problems({"checkpoint": checkpoint, "dataset": {}}, one) for one in ("0.3.1", "0.4.2")]
    assert [[problem.path for problem in problems] for problems in found] == [[], ["checkpoint.pretrained_checkpoint"]]


def test_a_model_of_hugging_face_to_begin_with(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    config = {"checkpoint": {"pretrained_checkpoint": str(tmp_path)}, "dataset": {}}
    assert [bool(preflight.problems(config, bridge)) for bridge in ("0.5.1", "0.6.2")] == [True, False]


def test_what_is_in_an_object_store_is_not_looked_for() -> None:
    checkpoint = {"load": "msc://a/b", "save": "msc://a/b", "exit_on_missing_checkpoint": True}
    dataset = {"_target_": "m.GPTDatasetConfig", "blend": [["s3://a/b"], None]}
    assert preflight.problems({"checkpoint": checkpoint, "dataset": dataset}) == []


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_of_earlier_starts(tmp_path: Path) -> None:
    folder = provenance.keep({"a": "1", "b": "2"}, str(tmp_path / "save"))
    assert folder == tmp_path / "save" / "bridge_args"
    provenance.keep({"a": "1", "b": "2"}, str(tmp_path / "save"))  # the same command again
    assert sorted(file.name for file in folder.iterdir()) == ["a", "b"]
    provenance.keep({"a": "1", "b": "3"}, str(tmp_path / "save"))
    provenance.keep({"a": "4", "b": "3"}, str(tmp_path / "save"))
    found = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    earlier = {"earlier/0001/a": "1", "earlier/0001/b": "2", "earlier/0002/a": "1", "earlier/0002/b": "3"}
    assert found == {"a": "4", "b": "3", **earlier}


# ---------------------------------------------------------------- ranks

STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "1234567",
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
}


def test_ranks_of_a_slurm_step() -> None:
    found = rank_variables({**STEP, "SLURM_STEP_NODELIST": "gpu[003-004],cpu1"})
    assert found == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu003",
        "MASTER_PORT": str(15000 + 4567),
    }


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("n[07,09-11]", "n07"), ("a-[1-3]-ib,b", "a-1-ib"), ("r[2]n[1-4]", "r2n1")],
)
def test_the_first_node(nodes: str, first: str) -> None:
    assert rank_variables({**STEP, "SLURM_NODELIST": nodes})["MASTER_ADDR"] == first


def test_what_a_launcher_says_stays() -> None:
    torchrun = {**STEP, **ranked(3, 4), "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    assert rank_variables(torchrun) == {}
    assert rank_variables({**STEP, "MASTER_ADDR": "a", "MASTER_PORT": "2"}).keys() == {
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
    }


def test_a_batch_script_without_srun_is_one_process() -> None:
    batch = {name: value for name, value in STEP.items() if name != "SLURM_STEP_ID"}
    found = rank_variables(batch)
    assert (found["RANK"], found["WORLD_SIZE"], found["MASTER_ADDR"]) == ("0", "1", "localhost")


def test_a_port_for_one_process_is_none_that_the_system_hands_out() -> None:
    ports = {int(rank_variables({})["MASTER_PORT"]) for _ in range(50)}
    assert len(ports) > 25 and all(25000 <= port < 32000 for port in ports)
