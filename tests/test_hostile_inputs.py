"""Inputs that would hang, burst or crash a careless reader, and streams that take nothing: a message, always."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import bridge_args
from bridge_args.emit.hydra import shell_word
from bridge_args.files import json_of, read_file, reader
from bridge_args.megatron_lm.expression import evaluated
from bridge_args.seen import visible, visible_lines

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 --max-position-embeddings 64 "
    "--micro-batch-size 1 --global-batch-size 1 --train-iters 1 --lr 1e-4 --tokenizer-type NullTokenizer "
    "--vocab-size 128 --bf16 --eval-interval 1"
).split()
MOCK = [*SMALL, "--mock-data"]
ROOT = Path(bridge_args.__file__).parents[1]


def run(words: list[str], cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """A command in a process with a gigabyte of memory and a minute of the processor."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    arguments: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "bridge_args", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **arguments.pop("env", {})},  # type: ignore[dict-item]
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=200,
        preexec_fn=limits,
        **arguments,
    )


LONG: dict[str, list[str]] = {
    "a sum of repeats": ["--num-experts", "2", "--moe-layer-freq", "[0]*1000000" + "+[0]*1000000" * 60],
    "many terms": ["--num-experts", "2", "--moe-layer-freq", "[0]*900000" + "+[0]" * 20_000],
    "nested brackets": ["--num-experts", "2", "--moe-layer-freq", "[" * 50_000],
    "a layout of a billion": ["--pipeline-model-parallel-layout", "Et*999999999|L"],
    "a layout of groups": ["--pipeline-model-parallel-layout", "E(t|)*99999999L"],
    "a layout of brackets": ["--pipeline-model-parallel-layout", "(" * 100_000],
    "unknown flags": [f"--no-such-flag-{number}" for number in range(20_000)],
    "long words": ["x" * 100_000] * 15,
    "a long number": ["--hidden-size", "9" * 4000],
    "a longer number": ["--hidden-size", "9" * 100_000],
    "numbers that multiply": ["--seq-length", "9" * 300, "--hidden-size", "9" * 300],
    "nested JSON": ["--heterogeneous-layers-config-encoded-json", "[" * 100_000],
}


@pytest.mark.parametrize("what", LONG)
def test_long_and_large_arguments_end_in_an_error(what: str, tmp_path: Path) -> None:
    done = run(["translate", "--", *MOCK, *LONG[what]], tmp_path)
    assert done.returncode == 1, done.stderr[-300:]
    assert "Traceback" not in done.stderr and "error: " in done.stderr
    assert len(done.stderr) < 40_000_000


def test_expressions_within_bounds_are_worked_out() -> None:
    assert evaluated("([0]*3+[1])*2") == [0, 0, 0, 1, 0, 0, 0, 1]
    assert len(evaluated("[0]*1000000")) == 1_000_000
    assert evaluated("+".join(["[1]"] * 500)) == [1] * 500
    for text in (
        "[0]*1000001",
        "[0]*600000+[0]*600000",
        "[*[0]*999999,*[0]*2]",
        "[0]*9**9**9",
        "[0]" + "+[0]" * 99_999,
    ):
        with pytest.raises(ValueError):
            evaluated(text)


@pytest.mark.parametrize("flag", ("--data-args-path", "--per-split-data-args-path", "--per-dataset-sequences-path"))
def test_a_file_that_is_none_is_an_error_and_is_not_waited_for(flag: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(10 << 30)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    words = SMALL if "per-split" in flag else [*SMALL, "--split", "1,0,0"]
    words = [*words, "--data-path", "x"] if "sequences" in flag else words
    for name in ("/dev/zero", "pipe", "link", "hole", "bytes", "."):
        done = run(["translate", "--", *words, flag, name], tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "cannot be used" in done.stderr, name
    (tmp_path / "deep").write_text("[" * 200_000)
    if flag != "--data-args-path":
        assert "nested deeper" in run(["translate", "--", *words, flag, "deep"], tmp_path).stderr


def test_a_table_or_a_source_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for words in (
        ["translate", "--mappings", "/dev/zero", "--", *MOCK],
        ["translate", "--mappings", "pipe", "--", *MOCK],
        ["translate", "pipe"],
        ["report", "/dev/zero"],
        ["audit", "pipe"],
    ):
        done = run(words, tmp_path)
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr, words


def test_which_file_was_read_is_told_and_where_it_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "blend.txt").write_text("0.3 a 0.7 b")
    script = tmp_path / "beside" / "train.sh"
    script.write_text(f"torchrun pretrain_gpt.py {' '.join(SMALL)} --split 1,0,0 --data-args-path blend.txt\n")
    done = run(["translate", "--verbose", str(script)], tmp_path)
    assert "blend.txt was read" in done.stderr and "[[a, b], [0.3, 0.7]]" in done.stdout


def test_an_audit_reads_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside.txt").write_text("0.3 outside_a 0.7 outside_b")
    (tmp_path / "tree" / "link.txt").symlink_to("../outside.txt")
    for number, name in enumerate(("../outside.txt", str(tmp_path / "outside.txt"), "link.txt")):
        line = f"torchrun pretrain_gpt.py {' '.join(SMALL)} --split 1,0,0 --data-args-path {name}\n"
        (tmp_path / "tree" / f"{number}.sh").write_text(line)
    done = run(["audit", "tree", "--format", "json"], tmp_path)
    assert "was read" not in done.stdout and done.stdout.count("outside of the folders") == 3
    within = reader([tmp_path / "tree"], [str(tmp_path)])
    assert within("../outside.txt").startswith("0.3")


def test_names_and_numbers_of_strangers() -> None:
    with pytest.raises(OSError, match="no file can have"):
        read_file("a\0b")
    for text in ("[" * 200_000, "9" * 100_000, "{"):
        with pytest.raises(ValueError):
            json_of(text)


# Streams --------------------------------------------------------------------------------------------------------------

FORMATS = [("report", format) for format in ("text", "json", "markdown", "html")] + [
    ("translate", format) for format in ("yaml", "overrides", "run-config", "recipe", "argv", "json")
]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.sh"
    words = " ".join(MOCK)
    path.write_text(f"torchrun --nproc-per-node 1 pretrain_gpt.py {words} --save 'é☃' --save-interval 1 # ü\n")
    return path


@pytest.mark.parametrize(("command", "format"), FORMATS)
def test_a_locale_of_ascii_gets_utf_8(command: str, format: str, script: Path, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run([command, str(script), "--format", format], tmp_path, env=ascii_only)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "é☃" in done.stdout or "\\u00e9\\u2603" in done.stdout


def test_a_full_or_closed_output_is_told(script: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run(["report", str(script)], tmp_path, stdout=full)
        assert done.returncode == 1 and "No space left" in done.stderr and "Traceback" not in done.stderr
        assert run(["translate", str(script)], tmp_path, stderr=full).returncode == 0
    program = f'exec {sys.executable} -m bridge_args "$@"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for closed, code in ((">&-", 1), ("2>&-", 0), (">&- 2>&-", 1), ("<&-", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{program} {closed}", "bash", "report", str(script)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code and "Traceback" not in done.stderr, closed


def test_a_folder_that_is_gone(script: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f'cd {gone} && rmdir {gone} && exec {sys.executable} -m bridge_args "$@"'
    for words in (["translate", str(script)], ["report", str(script)], ["audit", str(tmp_path)], ["explain", "lr"]):
        done = subprocess.run(
            ["bash", "-c", program, "bash", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        gone.mkdir()
        assert done.returncode == 1 and "no longer exists" in done.stderr and "Traceback" not in done.stderr


ODD = "x\x1b[31m\x1b]0;title\x07\u202e\u2066\x85\x9b1m"


def test_nothing_a_terminal_acts_on_is_printed_for_people(tmp_path: Path) -> None:
    words = [*MOCK, "--save", ODD, "--save-interval", "1", f"--{ODD}", ODD]
    for command in (["translate"], ["report"], ["report", "--format", "markdown"], ["report", "--format", "html"]):
        done = run([*command, "--", *words], tmp_path)
        for char in set(ODD) - set("x[]0;title1m3"):
            assert char not in done.stdout + done.stderr, repr(char)
    for words in (["translate", ODD], ["translate", f"--{ODD}"], ["audit", ODD], ["explain", ODD]):
        done = run(words, tmp_path)
        assert "\x1b" not in done.stderr + done.stdout and "\u202e" not in done.stderr + done.stdout
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr


def test_machine_formats_escape_what_cannot_be_seen(tmp_path: Path) -> None:
    words = [*MOCK, "--save", ODD, "--save-interval", "1"]
    for format in ("yaml", "overrides", "run-config", "recipe", "argv", "json"):
        done = run(["translate", "--format", format, "--", *words], tmp_path)
        assert done.returncode == 0
        assert not {char for char in done.stdout if not char.isprintable()} - {"\n"}, format


@pytest.mark.parametrize("text", (ODD, "a'b\n\tc", "\udcff\udc80x", "\\x1b", "plain", "", "\x010", "é\u200b☃'\\"))
def test_bash_reads_an_escaped_word_back(text: str) -> None:
    done = subprocess.run(
        ["bash", "-c", b"printf %s " + shell_word(text).encode("utf-8", "surrogateescape")],
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        check=True,
    )
    assert done.stdout == text.encode("utf-8", "surrogateescape")


def test_visible() -> None:
    assert visible("a\x1b[0m\u202eb\tc\n") == "a?[0m?b c "
    assert visible_lines("a\tb\n\x07c") == "a\tb\n?c"
