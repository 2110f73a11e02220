"""What is said where Bridge is not installed: which version, how to get it, and before anything else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from bridge_args.bridge import installed
from bridge_args.versions import PROVEN

ROOT = Path(__file__).resolve().parents[2]
TINY = "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64".split()

TRAINED = "--micro-batch-size 1 --train-iters 5 --lr 1e-3 --mock-data --eval-interval 5".split()
TRAINED += "--tokenizer-type NullTokenizer --vocab-size 100".split()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has PyYAML and this package, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    yaml = Path(__import__("yaml").__file__).parent
    shutil.copytree(yaml, site / "yaml")
    (site / "here.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    return folder / "bin" / "python"


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", ["validate", "rehearse"])
@pytest.mark.parametrize("words", [TINY, ["--no-such-argument"]], ids=["right", "wrong"])
def test_the_missing_bridge_is_said_first_and_alone(
    python: Path, command: str, words: list[str], tmp_path: Path
) -> None:
    done = run(python, "-m", "bridge_args", command, "--", *words, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"Megatron Bridge {PROVEN.bridge} is not installed (torch, omegaconf, hydra, megatron.core, "
    )
    assert f"megatron-bridge=={PROVEN.bridge}" in line and "--no-deps" in line
    assert "pip install" in line and "[bridge" in line


def test_the_version_that_was_asked_for_is_named(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "bridge_args", "validate", "--bridge", "0.4.2", "--", *TINY, cwd=tmp_path)
    assert "Megatron Bridge 0.4.2 is not installed" in done.stderr
    assert "megatron-bridge==0.4.2" in done.stderr


def test_the_drop_in_says_it_too(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "bridge_args.pretrain_gpt", *TINY, *TRAINED, cwd=tmp_path)
    assert done.returncode != 0
    assert f"Megatron Bridge {PROVEN.bridge} is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_translating_needs_none_of_it(python: Path, tmp_path: Path) -> None:
    for command in ("translate", "report"):
        done = run(python, "-m", "bridge_args", command, "--world-size", "1", "--", *TINY, *TRAINED, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "num_layers" in done.stdout or "--num-layers" in done.stdout


def test_what_is_there_is_found_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "omegaconf", "hydra", "megatron/core"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (tmp_path / "megatron" / "__init__.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in installed.NEEDED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    told = installed.missing("0.3.1")
    assert told is not None and "(megatron.bridge is missing)" in told
    assert "[bridge]" not in told  # the rest is there
    (tmp_path / "megatron" / "bridge").mkdir()
    assert installed.missing("0.3.1") is None
