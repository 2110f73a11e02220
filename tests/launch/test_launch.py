"""``bridge-args launch --dry-run`` on scripts as people write them: tests/launch/<case>/script.sh and what comes out.

``pytest --update-cases`` writes the expected files anew; the difference is the review.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from saved_checkpoints import content_of, effective, pickled, zipped
from small import PAIR, SMALL

from bridge_args.cli.main import main

CASES = sorted(path.parent for path in (Path(__file__).parent).glob("*/script.sh"))
NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a few programs, and an environment of a few variables."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("numactl", "mpirun"):
        (programs / name).touch(mode=0o755)
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {"PATH": str(programs), "HOME": "/home/me", "PWD": "/home/me/run", "DATA": "/data"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def launched(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["launch", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("executor", ["local", pytest.param("slurm", marks=NEMO_RUN)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(
    case: Path,
    executor: str,
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(case)
    code, out, err = launched([*PAIR, "script.sh", "--dry-run", "--executor", executor], capsys)
    said = "".join(f"# {line}\n" for line in err.splitlines())
    found = f"{out}# exit code {code}, and on standard error:\n{said}".replace(sys.executable, "python")
    found = found.replace(str(case), "/cases").replace(str(machine), "/machine")
    expected = case / f"expected.{'sbatch' if executor == 'slurm' else 'local'}"
    if request.config.getoption("--update-cases"):
        expected.write_text(found)
    assert found == expected.read_text()


def test_bare_arguments_get_a_launcher(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = launched([*PAIR, "--dry-run", "--world-size", "4", "--", *SMALL], capsys)
    assert code == 0
    assert f"{sys.executable} -m torch.distributed.run \\\n    --standalone \\\n    --nproc-per-node 4 \\\n" in out
    assert (
        "-m bridge_args.pretrain_gpt \\\n    --megatron-lm 0.16.1 \\\n    --bridge 0.3.1 \\\n    --num-layers 2" in out
    )


def test_own_options_stand_before_the_arguments(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--accept", "sft", "--megatron-lm", "0.15.3", "--bridge", "0.4.2"]
    code, out, _ = launched([*own, "--dry-run", "--", "torchrun", "pretrain_gpt.py", *SMALL, "--sft"], capsys)
    assert code == 0
    words = out.replace("\\\n", "").split()
    at = words.index("bridge_args.pretrain_gpt")
    assert words[at + 1 : at + 7] == ["--accept", "sft", "--megatron-lm", "0.15.3", "--bridge", "0.4.2"]


def test_a_lost_argument_stops_before_anything_starts(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = launched(["--dry-run", "--", "torchrun", "pretrain_gpt.py", *SMALL, "--sft"], capsys)
    assert (code, out) == (1, "")
    assert "not started" in err and "--accept sft" in err


def test_hybrid_models_have_their_own_drop_in(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hybrid = [
        "--hybrid-override-pattern",
        "M*",
        "--spec",
        "megatron.core.models.mamba.mamba_layer_specs",
        "mamba_stack_spec",
    ]
    code, out, err = launched([*PAIR, "--dry-run", "--", "torchrun", "pretrain_mamba.py", *SMALL, *hybrid], capsys)
    assert code == 0, err
    assert "-m bridge_args.pretrain_mamba" in out
    newer = ["--megatron-lm", "0.19.0", "--bridge", "0.6.2"]
    words = ["torchrun", "pretrain_hybrid.py", *SMALL, "--hybrid-layer-pattern", "M*"]
    code, out, err = launched(["--dry-run", *newer, "--", *words], capsys)
    assert code == 0, err
    assert "-m bridge_args.pretrain_hybrid" in out


def test_what_the_environment_has_is_filled_in(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = machine / "train.sh"
    script.write_text(f"torchrun pretrain_gpt.py {' '.join(SMALL)} --data-cache-path ${{DATA}}/x --seed ${{SEED:-1}}\n")
    code, out, _ = launched([str(script), "--dry-run"], capsys)
    assert code == 0 and "--data-cache-path /data/x" in out and "--seed 1\n" in out
    monkeypatch.setenv("SEED", "7")
    assert "--seed 7\n" in launched([str(script), "--dry-run"], capsys)[1]
    monkeypatch.delenv("DATA")
    code, out, err = launched([str(script), "--dry-run"], capsys)
    assert (code, out) == (1, "") and "--set DATA=VALUE" in err
    assert "--data-cache-path /d/x" in launched([str(script), "--dry-run", "--set", "DATA=/d"], capsys)[1]


def test_one_of_several_commands(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = machine / "train.sh"
    line = f"torchrun pretrain_gpt.py {' '.join(SMALL)} --seed"
    script.write_text(f"{line} 1\n{line} 2\n")
    code, _, err = launched([str(script), "--dry-run"], capsys)
    assert code == 1 and "--command N" in err
    assert "--seed 2" in launched([str(script), "--dry-run", "--command", "2"], capsys)[1]


def test_words_with_a_shell_in_them(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = f"cd /tmp; torchrun --nproc-per-node 2 pretrain_gpt.py {' '.join(SMALL)}"
    code, out, err = launched(["--dry-run", "--", "numactl", "-l", "bash", "-c", inner], capsys)
    assert code == 0, err
    assert out.startswith("cd /tmp\nexport PYTHONSAFEPATH=1\nnumactl \\\n    -l \\\n") and "--nproc-per-node 2" in out


def test_a_yaml_file_and_its_variables(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "model.yaml").write_text(
        "ENV_VARS:\n  NCCL_ALGO: Ring\nMODEL_ARGS:\n"
        + "".join(f"  {line}\n" for line in _as_yaml(SMALL))
        + "  --tensor-model-parallel-size: 2\n"
    )
    code, out, err = launched([str(machine / "model.yaml"), "--dry-run"], capsys)
    assert code == 0, err
    assert "export NCCL_ALGO=Ring\n" in out and "--nproc-per-node 2 " in out and "--num-layers 2 " in out


def _as_yaml(words: list[str]) -> list[str]:
    flags = [index for index, word in enumerate(words) if word.startswith("--")]
    ends = [*flags[1:], len(words)]
    return [f"{words[at]}: {' '.join(words[at + 1 : end]) or 'true'}" for at, end in zip(flags, ends, strict=True)]


def test_a_checkpoint_starts_with_its_own_arguments(
    machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zipped(pickled(content_of(effective(ranks=2))), tmp_path / "run" / "iter_0000005" / "common.pt")
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("5")
    code, out, err = launched([str(tmp_path / "run"), "--dry-run"], capsys)
    assert code == 0, err
    assert "--nproc-per-node 2 " in out and "-m bridge_args.pretrain_gpt" in out and "--num-layers " in out


def test_flags_for_slurm_need_slurm(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = launched(["--dry-run", "--nodes", "2", "--", *SMALL], capsys)
    assert code == 1 and "--nodes applies to a Slurm job" in err


def test_what_else_a_script_does_is_said(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = machine / "train.sh"
    line = f"torchrun pretrain_gpt.py {' '.join(SMALL)}"
    script.write_text(f"module load cuda\nnvidia-smi\nulimit -n 99\n{line}\npython eval.py\n")
    code, _, err = launched([str(script), "--dry-run"], capsys)
    assert code == 0
    assert "module load cuda (line 1); ulimit -n 99 (line 3); python eval.py (line 5)" in err
    script.write_text(f"nvidia-smi\n{line}\n")
    assert "does more" not in launched([str(script), "--dry-run"], capsys)[2]


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("pretrain_t5.py", 1, "pretrain_t5.py trains another kind of model"),
        ("/opt/pretrain_llama.py", 0, "/opt/pretrain_llama.py is treated as pretrain_gpt.py"),
        ("/opt/pretrain_gpt.py", 0, ""),
        ("-m megatron.pretrain_gpt", 0, ""),
    ],
)
def test_other_programs(program: str, code: int, said: str, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _, err = launched(["--dry-run", "--", "torchrun", *program.split(), *SMALL], capsys)
    assert found == code and (said in err if said else not err)


def test_words_for_the_script_are_asked_for(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = machine / "train.sh"
    script.write_text(f"torchrun pretrain_gpt.py {' '.join(SMALL)} --tensorboard-dir $1\n")
    code, _, err = launched([str(script), "--dry-run"], capsys)
    assert (
        code == 1 and "give the arguments of the script after its name" in err and "--set" not in err.splitlines()[-1]
    )
    assert "--tensorboard-dir tb\n" in launched([str(script), "tb", "--dry-run"], capsys)[1]


def test_a_checkout_does_not_hide_the_installed_core(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "megatron" / "core").mkdir(parents=True)
    script = machine / "train.sh"
    script.write_text(f"cd {machine}\ntorchrun pretrain_gpt.py {' '.join(SMALL)}\n")
    assert "export PYTHONSAFEPATH=1\n" in launched([str(script), "--dry-run"], capsys)[1]


@NEMO_RUN
class TestSlurm:
    def test_flags_count_more_than_the_script(self, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        script = machine / "train.sh"
        script.write_text(
            "#!/bin/bash\n#SBATCH -N 2 -A mine -t 1:00\n#SBATCH --gpus-per-node=8\n"
            f"srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 pretrain_gpt.py {' '.join(SMALL)}\n"
        )
        flags = "--nodes 4 --account other --time 2:00 --array 0-3 --sbatch qos=high --sbatch requeue="
        flags += " --container-image image.sqsh --container-mounts /a:/b --container-workdir /b --job-name run"
        code, out, err = launched([str(script), "--dry-run", "--executor", "slurm", *flags.split()], capsys)
        assert code == 0, err
        for line in ("account=other", "array=0-3", "nodes=4", "time=2:00", "qos=high", "requeue", "job-name=run"):
            assert f"#SBATCH --{line}\n" in out
        assert "--nnodes 4" in out and "#SBATCH --account=mine" not in out
        assert "--container-image image.sqsh --container-mounts /a:/b," in out and "--container-workdir /b" in out

    def test_what_only_the_job_may_know_stays_a_variable(
        self, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MY_API_KEY", "secret")
        script = machine / "train.sh"
        script.write_text(
            "#!/bin/bash\n#SBATCH --gpus-per-node=4\nexport WANDB_API_KEY=$MY_API_KEY\n"
            f"torchrun --nproc-per-node 8 pretrain_gpt.py {' '.join(SMALL)} --data-cache-path $DATA/x\n"
        )
        setup = ["--setup", "module load cuda"]
        code, out, err = launched([str(script), "--dry-run", "--executor", "slurm", *setup], capsys)
        assert code == 0 and "secret" not in out + err
        assert 'export WANDB_API_KEY="${MY_API_KEY}"\n' in out and "--data-cache-path /data/x" in out
        assert "module load cuda\n" in out
        text = script.read_text()
        script.write_text(
            text.replace("$DATA/x", "$DATA_PATH --tokenizer-model $TOKENIZER_MODEL --wandb-project $HF_TOKEN")
        )
        code, _, missing = launched([str(script), "--dry-run", "--executor", "slurm"], capsys)
        assert code == 1
        assert all(f"--set {name}=VALUE" in missing for name in ("DATA_PATH", "TOKENIZER_MODEL", "HF_TOKEN"))
        assert "8 processes start on every node, where the job has 4 GPUs" in err

    def test_a_script_that_calls_sbatch_itself(self, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        script = machine / "submit.sh"
        script.write_text(
            "sbatch --nodes 2 -A mine <<'END'\n#!/bin/bash\n#SBATCH --gpus-per-node=8 -N 1\n"
            f"srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 pretrain_gpt.py {' '.join(SMALL)}\nEND\n"
        )
        code, out, err = launched([str(script), "--dry-run", "--executor", "slurm"], capsys)
        assert code == 0, err
        assert "#SBATCH --nodes=2\n" in out and "#SBATCH --account=mine\n" in out and "--nnodes 2 " in out

    def test_bare_arguments_get_one_torchrun_a_node(self, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--executor", "slurm", "--dry-run", "--nodes", "2", "--gpus-per-node", "4", "--", *SMALL]
        code, out, err = launched(words, capsys)
        assert code == 0, err
        assert "--nnodes 2 \\\n    --nproc-per-node 4 " in out
        assert '--rdzv-endpoint "${head_node_ip}:29500"' in out and "#SBATCH --ntasks-per-node=1\n" in out

    def test_a_path_with_nemo_runs_own_folder_in_it(self, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--executor", "slurm", "--dry-run", "--", "torchrun", "pretrain_gpt.py", *SMALL]
        code, out, _ = launched([*words, "--tensorboard-dir", "/logs/nemo_run/x"], capsys)
        assert code == 0 and "--tensorboard-dir /logs/nemo_run/x" in out

    @pytest.mark.parametrize(
        ("lines", "command", "message"),
        [
            ("-N 2", "torchrun --nproc-per-node 8", "the job has 2 nodes, and torchrun is set up for one node"),
            ("-N 2", "mpirun -np 2 python", "nemo-run starts them with srun"),
            ("-N 1\n#SBATCH hetjob\n#SBATCH -N 1", "torchrun", "a job of several parts"),
            ("-N 1", "srun --container-mounts=/a:/b torchrun", "no --container-image"),
        ],
    )
    def test_what_cannot_be_said(
        self, lines: str, command: str, message: str, machine: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = machine / "train.sh"
        script.write_text(f"#!/bin/bash\n#SBATCH {lines}\n{command} pretrain_gpt.py {' '.join(SMALL)}\n")
        code, out, err = launched([str(script), "--dry-run", "--executor", "slurm"], capsys)
        assert (code, out) == (1, "") and message in err

    def test_without_sbatch_nothing_is_submitted(self, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--executor", "slurm", "--", "torchrun", "pretrain_gpt.py", *SMALL]
        code, _, err = launched(words, capsys)
        assert code == 1 and "sbatch is not on this machine" in err


def test_without_nemo_run_it_is_said_what_to_install(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "nemo_run"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nemo_run", None)
    code, _, err = launched(["--executor", "slurm", "--dry-run", "--", "torchrun", "pretrain_gpt.py", *SMALL], capsys)
    assert code == 1 and "pip install --no-deps nemo_run==" in err
