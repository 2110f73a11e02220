"""Many sources at once: nothing stops the rest, counts are those of single runs, the order is that of the paths."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge_args.audit import workers
from bridge_args.audit.run import FORMAT, Bar, audit
from bridge_args.audit.sources import MAX_SIZE, sources_in
from bridge_args.audit.summary import has_problems, text_of
from bridge_args.cli.main import main
from bridge_args.pairs.pairs import usual_megatron_lm
from bridge_args.steps import Asked

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
FLAGS = {
    "num-layers": 2, "hidden-size": 64, "num-attention-heads": 4, "seq-length": 32, "max-position-embeddings": 32,
    "micro-batch-size": 2, "train-iters": 5, "lr": "1e-3", "mock-data": True, "tokenizer-type": "NullTokenizer",
    "vocab-size": 1023, "eval-interval": 10,
}  # fmt: skip


def script(*more: str, times: int = 1) -> str:
    words = [f"--{name}" if value is True else f"--{name} {value}" for name, value in FLAGS.items()]
    command = f"torchrun --nproc-per-node 2 pretrain_gpt.py {' '.join([*words, *more])}\n"
    return "#!/bin/bash\n" + command * times


def yaml_file(*more: str) -> str:
    lines = [f"  --{name}: {str(value).lower() if value is True else value}" for name, value in FLAGS.items()]
    return (
        "ENV_VARS: {CUDA_DEVICE_MAX_CONNECTIONS: 1}\nTEST_TYPE: regular\nMODEL_ARGS:\n"
        + "\n".join([*lines, *more])
        + "\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some of everything; what is in hidden folders must never be seen."""
    files = {
        "b/fine.sh": script(),
        "b/fine.yaml": yaml_file(),
        "a/lossy.slurm": script("--adlr-autoresume", "--tensor-model-parallel-size 2"),
        "a/unknown.sh": script("--my-own-flag 3", "--other"),
        "a/two.sh": script(times=1) + script("--adlr-autoresume").partition("\n")[2],
        "a/other.yaml": "services: {web: {image: x}}\n",
        "launch": script("--bf16"),
        "notes": "just text\n",
        "README.md": "torchrun pretrain_gpt.py\n",
        "train.py": "import torch\n",
        "broken.sh": "torchrun pretrain_gpt.py 'open\n",
        ".git/hooks/x.sh": script(),
        "a/.hidden.sh": script(),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.sh").write_bytes(b"#!/bin/sh\n\0\1\2")
    (tmp_path / "latin.sh").write_bytes(b"#!/bin/sh\n# caf\xe9\n")
    with open(tmp_path / "large.sh", "w") as file:
        file.truncate(MAX_SIZE + 1)
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    return tmp_path


EXPECTED = {
    "broken.sh": ["errors"],
    "latin.sh": ["errors"],
    "launch": ["ok"],
    "a/lossy.slurm": ["losses"],
    "a/other.yaml": ["not-megatron-lm"],
    "a/two.sh": ["ok", "losses"],
    "a/unknown.sh": ["errors"],
    "b/fine.sh": ["ok"],
    "b/fine.yaml": ["ok"],
}


def statuses(result: dict[str, Any], folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in result["commands"]:
        found.setdefault(os.path.relpath(entry["path"], folder), []).append(entry["status"])
    return found


def test_which_sources(folder: Path) -> None:
    assert [os.path.relpath(source, folder) for source in sources_in(str(folder))] == list(EXPECTED)
    named = [str(folder / "README.md"), str(folder / "a" / ".hidden.sh")]
    assert [source for name in named for source in sources_in(name)] == named


def test_checkpoints_are_sources(tmp_path: Path) -> None:
    saved = tmp_path / "runs" / "one"
    (saved / "iter_0000010").mkdir(parents=True)
    (saved / "latest_checkpointed_iteration.txt").write_text("10")
    (saved / "iter_0000010" / "x.yaml").write_text("a: 1\n")
    assert list(sources_in(str(tmp_path))) == [str(saved)]
    assert list(sources_in(str(saved))) == [str(saved)]
    (entry,) = audit([str(saved)], Asked(), jobs=1)["commands"]
    assert (entry["status"], entry["findings"][0]["kind"]) == ("errors", "unreadable-source")


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_source_and_the_same_on_every_run(folder: Path, jobs: int) -> None:
    result = audit([str(folder)], Asked(), jobs=jobs)
    assert result["format"] == FORMAT
    assert statuses(result, folder) == EXPECTED
    assert result == audit([str(folder)], Asked(), jobs=2)
    said = result["summary"]
    assert said["sources"] == len(EXPECTED)
    assert said["commands"] == {"ok": 4, "losses": 2, "errors": 3, "not-megatron-lm": 1}
    assert said["lost"] == {"--adlr-autoresume": 2}
    assert said["unknown"] == {"--my-own-flag": 1, "--other": 1}
    assert said["megatron_lm"] == {usual_megatron_lm(): 7}


def test_counts_are_those_of_single_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``translate`` on each file says by its exit code and its messages what the audit counts."""
    assert main(["audit", "--format", "json", str(folder)]) == 1
    said = json.loads(capsys.readouterr().out)
    single: Counter[str] = Counter()
    for source in sources_in(str(folder)):
        for number in ("1", "2") if source.endswith("two.sh") else ("",):
            words = [*(["--command", number] if number else []), "--report", "json", source]
            code = main(["translate", *words])
            err = capsys.readouterr().err
            lost = "is lost:" in err
            none = "is none of the YAML files" in err
            single["not-megatron-lm" if none else "errors" if code else "losses" if lost else "ok"] += 1
    assert dict(single) == {name: count for name, count in said["summary"]["commands"].items() if count}


def test_text_and_exit_codes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert err == ""  # no bar where nobody looks
    lines = out.splitlines()
    assert f"ok          {folder}/launch" in lines
    assert f"losses 1    {folder}/a/lossy.slurm: --adlr-autoresume" in lines
    assert f"losses 1    {folder}/a/two.sh (command 2): --adlr-autoresume" in lines
    assert f"-           {folder}/a/other.yaml: not a Megatron-LM command" in lines
    assert any(
        line.startswith(f"errors 2    {folder}/a/unknown.sh: --my-own-flag is not an argument") for line in lines
    )
    assert any(line.startswith(f"errors 1    {folder}/latin.sh: is not a text file") for line in lines)
    assert "9 commands in 9 sources: 4 translated, 2 translated with losses, 3 with errors; 1 source without" in out
    assert "lost in translation: --adlr-autoresume (2)" in lines

    assert main(["audit", str(folder / "b")]) == 0
    lossy = str(folder / "a" / "lossy.slurm")
    assert main(["audit", lossy]) == 0
    assert main(["audit", "--strict", lossy]) == 1
    assert main(["audit", str(folder / "a" / "other.yaml")]) == 1  # nothing to translate
    capsys.readouterr()
    assert main(["audit", str(folder / "missing")]) == 1
    assert "missing cannot be read: No such file or directory" in capsys.readouterr().err
    assert main(["audit", "--megatron-lm", "0.99", str(folder)]) == 1
    assert "no catalog of Megatron-LM 0.99" in capsys.readouterr().err


def test_settings_hold_for_every_source(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text(
        script("--global-batch-size $GBS").replace("--nproc-per-node 2", "--nproc-per-node $N")
    )
    (before,) = audit([str(tmp_path)], Asked(), jobs=1)["commands"]
    assert before["status"] == "errors"
    settings = Asked(megatron_lm="0.15", world_size=4, variables={"GBS": "16", "N": "4"})
    (after,) = audit([str(tmp_path)], settings, jobs=1)["commands"]
    assert (after["status"], after["world_size"], after["megatron_lm"]) == ("ok", 4, "0.15.3")


def test_output_file(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    assert main(["audit", "--format", "json", "-o", str(target), str(folder / "b")]) == 0
    entries = json.loads(target.read_text())["commands"]
    assert [os.path.basename(entry["path"]) for entry in entries] == ["fine.sh", "fine.yaml"]
    assert {
        "path",
        "command",
        "status",
        "findings",
        "megatron_lm",
        "bridge",
        "world_size",
        "program",
        "settings",
    } == set(entries[0])


@pytest.fixture
def with_worker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Workers run a body with the name of each source, before it is examined."""

    def spoil(body: str) -> None:
        folder = tmp_path_factory.mktemp("module")
        (folder / "spoiled_worker.py").write_text(
            "import os, signal, sys, time\n"
            "from bridge_args.audit import examine\n"
            "before = examine.examine\n"
            "def spoiled(path, settings):\n"
            f"    {body}\n"
            "    return before(path, settings)\n"
            "examine.examine = spoiled\n"
            "examine.answer(sys.argv[1], sys.stdin, sys.stdout)\n"
        )
        monkeypatch.setattr(workers, "_MODULE", "spoiled_worker")
        monkeypatch.syspath_prepend(str(folder))

    return spoil


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("if 'fine.sh' in path: os.kill(os.getpid(), signal.SIGSEGV)", "reading it ended the process (-11)"),
        ("if 'fine.sh' in path: sys.exit(3)", "reading it ended the process (3)"),
        ("if 'fine.sh' in path: time.sleep(120)", "reading takes more than 20 seconds"),
        ("if 'fine.sh' in path: print('{', flush=True) or time.sleep(60)", "reading it ended the process"),
        ("if 'fine.sh' in path: raise KeyError('x')", "this program failed on it: KeyError: 'x'"),
        ("if 'fine.sh' in path: spoiled(path, settings)", "this program failed on it: RecursionError"),
    ],
    ids=["crash", "exit", "hang", "nonsense", "exception", "recursion"],
)  # fmt: skip
def test_one_bad_source_never_stops_the_rest(
    folder: Path, with_worker: Callable[[str], None], body: str, said: str
) -> None:
    with_worker(body)
    begin = time.monotonic()
    result = audit([str(folder)], Asked(), jobs=2, timeout=20)
    assert time.monotonic() - begin < 100
    assert statuses(result, folder) == {**EXPECTED, "b/fine.sh": ["errors"]}
    (bad,) = [entry for entry in result["commands"] if entry["path"].endswith("fine.sh")]
    assert said in bad["findings"][0]["message"]


def test_no_process_is_left_behind(folder: Path) -> None:
    started = []
    before = workers.subprocess.Popen

    def noted(*args: Any, **kwargs: Any) -> Any:
        started.append(before(*args, **kwargs))
        return started[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workers.subprocess, "Popen", noted)
        audit([str(folder)], Asked(), jobs=2)
    assert 1 <= len(started) <= 2
    assert all(process.poll() is not None for process in started)


def test_the_bar() -> None:
    stream = io.StringIO()
    bar = Bar(stream, width=4)
    for done in range(1, 9):
        bar(done, 8)
    shown = stream.getvalue().split("\r")
    assert shown[1] == "[----] 1/8"
    assert "[##--] 4/8" in shown
    assert shown[-2:] == ["[####] 8/8", "\033[K"]


def test_nothing_and_strict() -> None:
    empty = audit([], Asked())
    assert empty["commands"] == []
    assert has_problems(empty, strict=False)
    assert text_of(empty).strip() == (
        "0 commands in 0 sources: 0 translated, 0 translated with losses, 0 with errors; "
        "0 sources without a Megatron-LM command"
    )


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
@pytest.mark.skipif(sys.platform == "win32", reason="CPU time of children")
def test_the_functional_tests_of_a_checkout_take_little_time() -> None:
    before = os.times()
    result = audit([str(Path(CHECKOUT, "tests", "functional_tests", "test_cases"))], Asked(), jobs=2)
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    counts = result["summary"]["commands"]
    assert counts["ok"] + counts["losses"] > 100
    assert used < 10, f"{used:.1f} CPU seconds: not 5 seconds on two cores"
