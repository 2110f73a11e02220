"""The batch file as a file: what it replaces, who may read it, which secrets it holds; and what a dry run needs."""

# ruff: noqa: E501 - a script is one line where people write it so
from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_jobs import Jobs, told_by_slurm
from small import SMALL_TEXT
from test_launch_tasks import HEAD, jobs, made_of

from bridge_args.cli.main import main
from bridge_args.findings import Finding
from bridge_args.launch.executors import slurm

__all__ = ["jobs"]
NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")
SBATCH = '#!/bin/bash\nenv -0 > submitted\necho "${@: -1}" >> names\necho 17\n'


def submitted(jobs: Jobs, script: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[str, str]:
    """Hands a script over to an sbatch that only writes down how it was called; what was written and said."""
    (jobs.bin / "sbatch").write_text(SBATCH)
    (jobs.bin / "sbatch").chmod(0o755)
    Path("job.sh").write_text(script)
    code = main(["launch", "job.sh", "--executor", "slurm", *options])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


@NEMO_RUN
class TestTheFile:
    def test_what_is_there_stays(self, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
        Path("precious").write_text("precious")
        Path("job.bridge.sbatch").symlink_to("precious")
        Path("job.bridge.2.sbatch").write_text("mine")
        _, said = submitted(jobs, f"{HEAD}srun python pretrain_gpt.py {SMALL_TEXT}\n", capsys)
        assert Path("precious").read_text() == "precious" and Path("job.bridge.2.sbatch").read_text() == "mine"
        assert Path("names").read_text().split() == ["job.bridge.3.sbatch"] and "submitted job.bridge.3.sbatch" in said

    def test_a_link_that_leads_nowhere_is_no_free_name(self, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
        Path("job.bridge.sbatch").symlink_to("nowhere")
        submitted(jobs, f"{HEAD}srun python pretrain_gpt.py {SMALL_TEXT}\n", capsys)
        assert not Path("nowhere").exists() and Path("job.bridge.2.sbatch").is_file()

    @pytest.mark.parametrize("private", [True, False])
    def test_it_is_as_private_as_the_script(
        self, private: bool, jobs: Jobs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("job.sh").touch(0o600 if private else 0o644)
        os.chmod("job.sh", 0o600 if private else 0o644)
        submitted(jobs, f"{HEAD}srun python pretrain_gpt.py {SMALL_TEXT}\n", capsys)
        mode = stat.S_IMODE(Path("job.bridge.sbatch").stat().st_mode)
        assert bool(mode & 0o077) is not private


SECRETS = f"""\
{HEAD}export WANDB_API_KEY=PLANTED-in-a-variable
export HTTPS_PROXY=http://me:PLANTED-in-a-url@proxy:80
srun bash -c 'export HF_TOKEN=PLANTED-in-a-task RANK=$SLURM_PROCID; wandb login PLANTED-for-a-login; python pretrain_gpt.py {SMALL_TEXT}'
"""


@NEMO_RUN
class TestSecrets:
    def test_the_environment_holds_them_and_the_file_does_not(
        self, jobs: Jobs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, said = submitted(jobs, SECRETS, capsys)
        assert "PLANTED" not in Path("job.bridge.sbatch").read_text() + out + said
        assert "the batch file takes WANDB_API_KEY" in said and "HF_TOKEN" in said
        environment = dict(pair.split("=", 1) for pair in Path("submitted").read_text().split("\0") if pair)
        assert environment["WANDB_API_KEY"] == "PLANTED-in-a-variable"

    def test_every_task_has_them(self, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
        (jobs.bin / "wandb").write_text('#!/bin/bash\necho "$2" >> "$HOME/logins"\n')
        (jobs.bin / "wandb").chmod(0o755)
        submitted(jobs, SECRETS, capsys)
        text = Path("job.bridge.sbatch").read_text()
        environment = dict(pair.split("=", 1) for pair in Path("submitted").read_text().split("\0") if pair)
        passed = {name: value for name, value in environment.items() if "PLANTED" in value}
        ours = jobs.run(text, {**told_by_slurm(text, jobs.folder), **passed})
        assert Path("logins").read_text().split() == ["PLANTED-for-a-login"] * 4
        original = jobs.run(SECRETS, told_by_slurm(SECRETS, jobs.folder))
        for one, other in zip(ours, original, strict=True):
            environment = {name: value for name, value in one.environment.items() if "BRIDGE_ARGS_SECRET" not in name}
            assert environment == dict(other.environment)

    def test_without_them_the_job_says_what_is_missing(self, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
        batch = made_of(SECRETS, capsys, "--executor", "slurm")
        Path("batch").write_text(batch)
        environment = {**jobs.environment, "SLURM_NNODES": "1"}
        done = subprocess.run(["bash", "batch"], env=environment, capture_output=True, text=True)
        assert done.returncode != 0 and "WANDB_API_KEY" in done.stderr

    def test_the_log_of_the_job_shows_no_values(self, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
        submitted(jobs, SECRETS, capsys)
        environment = dict(pair.split("=", 1) for pair in Path("submitted").read_text().split("\0") if pair)
        done = subprocess.run(
            ["bash", "job.bridge.sbatch"], env={**environment, "SLURM_NNODES": "1"}, capture_output=True, text=True
        )
        assert "set +vx" in done.stderr and "PLANTED" not in done.stderr + done.stdout

    def test_where_the_environment_is_not_passed_the_file_holds_them_and_says_so(
        self, jobs: Jobs, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = SECRETS.replace("export MASTER_ADDR", "#SBATCH --export=NONE\nexport MASTER_ADDR", 1)
        _, said = submitted(jobs, script, capsys)
        assert (
            "the batch file holds a secret" in said and "PLANTED-in-a-variable" in Path("job.bridge.sbatch").read_text()
        )
        assert stat.S_IMODE(Path("job.bridge.sbatch").stat().st_mode) == 0o600


# Programs that are not on this machine, and what starts inside of them.
ELSEWHERE = {
    "apptainer": "apptainer exec --nv /images/m.sif torchrun --nproc_per_node 8 pretrain_gpt.py %%",
    "singularity and a shell": "singularity run --nv m.sif bash -c 'torchrun --nproc_per_node 8 pretrain_gpt.py %%'",
    "docker": "docker run --rm --gpus all -v $PWD:/w -w /w image:1 bash -c \"torchrun --nproc_per_node 8 pretrain_gpt.py %%\"",
    "podman": "podman run --rm image:1 python -m torch.distributed.run --nproc_per_node 8 pretrain_gpt.py %%",
    "enroot": "enroot start --rw image torchrun --nproc_per_node 8 pretrain_gpt.py %%",
    "conda": "conda run -n megatron torchrun --nproc_per_node 8 pretrain_gpt.py %%",
    "uv": "uv run torchrun --nproc_per_node 8 pretrain_gpt.py %%",
    "ssh": "ssh node7 'cd /w; torchrun --nproc_per_node 8 pretrain_gpt.py %%'",
}  # fmt: skip


@pytest.mark.parametrize("program", ELSEWHERE)
def test_a_dry_run_needs_no_program_and_another_environment_has_its_own_python(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "no programs"))
    monkeypatch.setenv("PWD", str(tmp_path))
    Path("train.sh").write_text(f"{ELSEWHERE[program].replace('%%', SMALL_TEXT)}\n")
    code = main(["launch", "train.sh", "--dry-run"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "-m bridge_args.pretrain_gpt" in captured.out and sys.executable not in captured.out
    assert "torchrun" in captured.out or "python -m torch.distributed.run" in captured.out
    assert f"{program.split()[0]} is not on this machine" in captured.err
    code = main(["launch", "train.sh"])
    assert code == 1 and "is not on this machine" in capsys.readouterr().err


def test_what_the_job_answers_is_known_by_what_it_is_not_by_a_piece_of_a_sentence() -> None:
    answered = SimpleNamespace(said="$NODE")
    about_both = [Finding("unresolved-variable", f"{name} is used", about=name) for name in ("$NODE", "$NODE_LIST")]
    raw: Any = SimpleNamespace(started=SimpleNamespace(raw=SimpleNamespace(holes=[answered])), findings=about_both)
    assert [finding.about for finding in slurm.unanswered(raw)] == ["$NODE_LIST"]


def test_modules_of_the_current_folder_stand_in_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "torch", "bridge_args", "argparse", "yaml"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(9)\n")
    (tmp_path / "train.sh").write_text(f"python pretrain_gpt.py {SMALL_TEXT} --num-layers 3x\n")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "bridge_args", "launch", "train.sh"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    (tmp_path / "bridge_args.py").unlink()  # for our own start; the launched program is looked at below
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "3x" in done.stderr
    (tmp_path / "bridge_args.py").write_text("open('ran', 'w')\nraise SystemExit(9)\n")
    (tmp_path / "train.sh").write_text(f"python pretrain_gpt.py {SMALL_TEXT}\n")
    from bridge_args.launch.entrypoint import Start
    from bridge_args.launch.executors import local

    start = Start((sys.executable, "-m", "bridge_args.pretrain_gpt", "--num-layers", "3x"), {}, "", {}, "python", 1)
    ready = local.on_this_machine(start)
    done = subprocess.run(
        ready.words, cwd=tmp_path, env={**environment, **ready.environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and not (tmp_path / "ran").exists(), done.stderr
