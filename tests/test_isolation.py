"""Nothing that lies in the current folder, or that an environment variable names, is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from living import gone, processes

from bridge_args import children

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 \\
    --seq-length 64 --max-position-embeddings 64 --micro-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data \\
    --tokenizer-type NullTokenizer --vocab-size 128 --bf16
"""
# Modules that a translation imports after Python has started: Python's own, ours, and such as are not everywhere.
SHADOWS = (
    "__future__ argparse json token tokenize ast dataclasses enum inspect typing keyword math textwrap subprocess "
    "threading queue tempfile random shutil string fnmatch shlex signal selectors logging yaml torch megatron "
    "omegaconf hydra transformers matplotlib numpy graphlib difflib html pickle zipfile ctypes runpy sysconfig "
    "sitecustomize usercustomize concurrent xml copy decimal fractions datetime bisect heapq struct csv unicodedata "
    "platform uuid"
).split()
COMMANDS = {
    "translate": ["translate", "train.sh"],
    "recipe": ["translate", "train.sh", "--format", "recipe"],
    "report": ["report", "train.sh", "--format", "html"],
    "audit": ["audit", "."],
    "explain": ["explain", "--lr"],
    "search": ["explain", "learning", "rate"],
    "versions": ["--version"],
}
# The console script starts in its own folder; ``-m`` puts the current one first; bash makes an empty entry out of
# ``$PYTHONPATH:/x`` where the variable is not set.
CONSOLE = "import sys; sys.path[0:1] = []; from bridge_args.__main__ import run; sys.exit(run())"
STARTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "console script": (["-c", CONSOLE], {}),
    "module": (["-m", "bridge_args"], {}),
    "empty entry": (["-c", CONSOLE], {"PYTHONPATH": ":/x"}),
}


def before_us(start: str) -> set[str]:
    """Modules that Python imports before it comes to this program; it finds them itself, in the current folder too."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "this"], capture_output=True, text=True, timeout=60
    )
    always = {"sitecustomize", "usercustomize"} if start == "empty entry" else set()
    return always | {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\nraise ImportError(__name__)\n")
    (tmp_path / "train.sh").write_text(SCRIPT)
    return tmp_path


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.ran"))


def environment(**more: str) -> dict[str, str]:
    """This package can be imported, by its whole path or because it is installed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**env, "PYTHONDONTWRITEBYTECODE": "1", **more}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_modules_of_the_current_folder_are_not_run(hostile: Path, start: str, command: str) -> None:
    words, variables = STARTS[start]
    for name in before_us(start) & set(SHADOWS):
        (hostile / f"{name}.py").unlink()
    done = subprocess.run(
        [sys.executable, *words, *COMMANDS[command]],
        cwd=hostile,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran(hostile) == []
    assert done.returncode == 0, done.stderr
    if command == "audit":
        assert "1 translated" in done.stdout


PROBE = """
import json, sys
def where(name):
    try:
        return __import__(name).__file__
    except ImportError as error:
        return None
print(json.dumps([[where(n) for n in sys.argv[2:]], __import__("bridge_args").__file__, sys.argv[1]]))
"""


@pytest.fixture
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe_of_test.py").write_text(PROBE)
    return folder


def test_a_process_of_ours_imports_python_itself_and_what_is_named_by_its_whole_path(
    tmp_path: Path, probe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SHADOWS:  # also in a folder that PYTHONPATH names: not in place of Python's own modules
        (probe / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\n")
    (tmp_path / "probe_of_test.py").write_text("open(__file__ + '.ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "relative", str(probe), *sys.path])
    env = children.environment(environment(PYTHONPATH=f":{probe}:relative:"))
    words = children.command("probe_of_test", "spare", "json", "enum", "queue")
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    files, package, word = json.loads(done.stdout)
    assert all(str(probe) not in file for file in files)
    assert Path(package) == ROOT / "bridge_args" / "__init__.py" and word == "spare"
    assert ran(tmp_path) == [] and ran(probe) == []
    assert env["PYTHONPATH"] == str(probe)


def test_variables_of_python_do_nothing_to_a_process_of_ours(tmp_path: Path, probe: Path) -> None:
    home = tmp_path / "home" / "lib"
    home.mkdir(parents=True)
    startup = tmp_path / "startup.py"
    startup.write_text("open(__file__ + '.ran', 'w').close()")
    (tmp_path / "usercustomize.py").write_text("open(__file__ + '.ran', 'w').close()")
    hostile = {
        "PYTHONPATH": f"{probe}",
        "PYTHONSTARTUP": str(startup),
        "PYTHONHOME": str(home.parent),
        "PYTHONUSERBASE": str(tmp_path),
        "PYTHONINSPECT": "1",
        "PYTHONBREAKPOINT": "os.abort",
        "PYTHONWARNINGS": "error",
        "PYTHONCASEOK": "1",
    }
    done = subprocess.run(
        [sys.executable, *children.command("json.tool")[1:]],
        env={**children.environment(os.environ), **hostile},
        cwd=tmp_path,
        input="[1]",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["[", "1", "]"], "")
    assert ran(tmp_path) == []
    kept = children.environment({**hostile, "OTHER": "1"})
    assert {name for name in kept if name.startswith("PYTHON")} == {"PYTHONPATH", "PYTHONSAFEPATH"}


# Nobody outlives us --------------------------------------------------------------------------------------------------


def until(condition: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT])
def test_a_worker_ends_with_its_audit(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "busy_worker.py").write_text("import sys\nopen(sys.argv[0] + '.ran', 'w').close()\nwhile True: pass\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.sh").write_text(SCRIPT)
    program = (
        "import sys; from bridge_args.audit import workers; workers._MODULE = 'busy_worker'; "
        "from bridge_args.cli.main import main; sys.exit(main(['audit', 'scripts', '--jobs', '1', '--timeout', '500']))"
    )
    mark = f"MARK_OF_TEST={tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path), MARK_OF_TEST=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: ran(tmp_path))
        assert len(list(processes(mark))) == 2
        process.send_signal(number)
        process.wait(60)
        assert gone(mark)
    finally:
        for one in processes(mark):
            os.kill(one, signal.SIGKILL)
        process.wait(60)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_process_of_ours_forks_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(
        "import os, sys, time\nif os.fork() == 0:\n    open(sys.argv[0] + '.ran', 'w').close()\ntime.sleep(600)\n"
    )
    mark = f"MARK_OF_TEST={tmp_path}"
    env = {**children.environment(environment()), "BRIDGE_ARGS_PATH": str(tmp_path)}
    process = subprocess.Popen(children.command("forking"), env={**env, "MARK_OF_TEST": str(tmp_path)})
    try:
        until(lambda: ran(tmp_path))
        process.kill()
        process.wait(60)
        assert gone(mark)
    finally:
        for one in processes(mark):
            os.kill(one, signal.SIGKILL)


def test_a_process_whose_parent_is_gone_does_not_begin() -> None:
    env = {**children.environment(os.environ), "BRIDGE_ARGS_PARENT": "1"}
    done = subprocess.run(children.command("this"), env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
