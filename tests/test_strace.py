"""What the commands that only read do to the system, as strace(1) sees it: they run nothing and write one file."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Calls that start a program, change a file or reach somebody.
CALLS = (
    "execve,execveat,open,openat,openat2,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,"
    "symlink,symlinkat,truncate,chmod,fchmodat,chown,fchownat,lchown,mknod,mknodat,connect,bind,utimensat,setxattr"
)
SCRIPT = """#!/bin/bash
export LD_PRELOAD=$PWD/pre.so BASH_ENV=$PWD/other.sh PATH=$PWD:$PATH
`touch RAN`
x=$(./nproc; touch RAN; cat < <(touch RAN))
eval "touch RAN"
trap 'touch RAN' EXIT
[[ -v 'a[$(touch RAN)]' ]] || (( b = a[$(touch RAN)] ))
source ./other.sh
. other.sh > RAN
python3 -c 'open("RAN", "w")' || bash other.sh
cat > RAN <<EOF
$(touch RAN)
EOF
torchrun --nproc-per-node $(./nproc) pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 \\
    --seq-length 64 --max-position-embeddings 64 --micro-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data \\
    --tokenizer-type NullTokenizer --vocab-size 128 --bf16 --save ck --save-interval 5 --tensorboard-dir tb \\
    --data-cache-path cache --moe-layer-freq "([0]*1+[1]*1)" --attention-backend flash > RAN 2>&1 | tee RAN
"""
COMMANDS = {
    "translate": ["translate", "train.sh", "-o", "out"],
    "overrides": ["translate", "train.sh", "--format", "overrides", "-o", "out"],
    "recipe": ["translate", "train.sh", "--format", "recipe", "-o", "out"],
    "report": ["report", "train.sh", "--format", "html", "-o", "out"],
    "audit": ["audit", ".", "-o", "out"],
    "explain": ["explain", "--moe-layer-freq"],
    "validate": ["validate", "train.sh"],
}


@lru_cache
def traceable() -> bool:
    strace = shutil.which("strace")
    return (
        bool(strace) and subprocess.run([strace, "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(not traceable(), reason="strace is not there, or may not trace")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.sh").write_text(SCRIPT)
    (folder / "other.sh").write_text("touch RAN\n")
    for name in ("json", "yaml", "token", "enum", "sitecustomize"):
        (folder / f"{name}.py").write_text("open('RAN', 'w')\n")
    for name in ("nproc", "bash", "sh", "python3", "nvidia-smi", "git", "sbatch", "scontrol", "tput"):
        (folder / name).write_text("#!/bin/sh\ntouch RAN\n")
        (folder / name).chmod(0o755)
    return folder


def did(folder: Path, words: list[str]) -> tuple[list[str], list[str]]:
    """Programs that were started, and other calls that change something or reach somebody, as strace says it."""
    trace = folder.parent / "trace"
    env = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f":{ROOT}",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    env |= {"HOME": str(folder.parent), "TMPDIR": str(folder.parent)}
    start = (
        "import sys; sys.path[:] = [p for p in sys.path if p]; from bridge_args.__main__ import run; sys.exit(run())"
    )
    strace = [shutil.which("strace") or "", "-f", "-qq", "-s", "4096", "-o", str(trace), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*strace, sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", start, *words],
        cwd=folder.parent / "work",
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Traceback" not in done.stderr, done.stderr
    calls = [re.sub(r"^\d+ +", "", line) for line in trace.read_text(errors="replace").splitlines()]
    calls = [call for call in calls if re.match(r"\w+\(", call) and not re.search(r"= -1 E(NOENT|EXIST)\b", call)]
    started = [call for call in calls if call.startswith("exec")]
    reading = [call for call in calls if call.startswith("open") and "O_RDONLY" in call and "O_CREAT" not in call]
    return started, [call for call in calls if call not in started and call not in reading and "/dev/null" not in call]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_run_and_one_file_is_written(hostile: Path, command: str) -> None:
    if command == "validate" and (
        importlib.util.find_spec("torch") is None or importlib.util.find_spec("megatron.bridge") is None
    ):
        pytest.skip("needs Bridge")
    before = {path: path.read_bytes() for path in hostile.iterdir()}
    started, changed = did(hostile, COMMANDS[command])
    assert not (hostile / "RAN").exists()
    assert {path: path.read_bytes() for path in hostile.iterdir() if path.name != "out"} == before
    interpreter = sys.executable
    others = [call for call in started if not call.startswith(f'execve("{interpreter}", ["{interpreter}", ')]
    if command == "validate":  # importing torch looks for libraries and writes in the folder for such files
        assert not [call for call in others if str(hostile) in call.partition("[")[0]]
        changed = [call for call in changed if str(hostile) in call]
        started = [call for call in started if call not in others]
        others = []
    assert others == []
    assert len(started) <= (1 if command != "audit" else 1 + (os.cpu_count() or 1))
    own = re.compile(re.escape(str(hostile)) + r"/(\.bridge-args-\w+|out)")
    assert [call for call in changed if not own.search(call)] == []
    assert bool(changed) is ("-o" in COMMANDS[command])


def test_the_tracer_sees_what_it_looks_for(hostile: Path) -> None:
    (hostile / "probe.py").write_text(
        "import os, subprocess\nopen('made', 'w').close()\nos.rename('made', 'moved')\nsubprocess.run(['./nproc'])\n"
    )
    trace = hostile.parent / "trace"
    strace = [shutil.which("strace") or "", "-f", "-qq", "-o", str(trace), "-e", f"trace={CALLS}"]
    subprocess.run([*strace, sys.executable, "-I", "probe.py"], cwd=hostile, check=True, timeout=120)
    text = trace.read_text()
    assert 'execve("./nproc"' in text and '"made", "moved"' in text and "O_CREAT" in text
