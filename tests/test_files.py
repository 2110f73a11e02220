"""What is written of ours replaces regular files whole, and destroys nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bridge_args import files
from bridge_args.files import remember, write_whole

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 \\
    --seq-length 64 --max-position-embeddings 64 --micro-batch-size 1 --train-iters 1 --lr 1e-4 --mock-data \\
    --tokenizer-type NullTokenizer --vocab-size 128 --bf16
"""


@pytest.fixture(autouse=True)
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_sources", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.sh").write_text(SCRIPT)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of bash's in which ``$args`` is this program."""
    env = {**os.environ, "args": f"{sys.executable} -m bridge_args", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Regular files and links ---------------------------------------------------------------------------------------------


def test_a_new_file_has_the_permissions_that_the_shell_would_give(tmp_path: Path) -> None:
    (tmp_path / "by_shell").open("w").close()
    write_whole(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "by_shell").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444 | 0o200])
def test_a_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write_whole(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "target").write_text("old")
    (tmp_path / "between").symlink_to("there/target")
    (tmp_path / "link").symlink_to(tmp_path / "between")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "between").is_symlink()
    assert (tmp_path / "there" / "target").read_text() == "new"
    assert names(tmp_path / "there") == ["target"]


def test_a_link_through_a_linked_folder_leads_where_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "short").symlink_to("a/b")
    (tmp_path / "a" / "b" / "link").symlink_to("../target")
    write_whole(tmp_path / "short" / "link", "new")
    assert (tmp_path / "a" / "target").read_text() == "new"


def test_a_link_to_nothing_makes_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "a", "new")
    assert names(tmp_path) == ["a", "b"]


def test_the_other_name_of_a_hard_link_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_whole(tmp_path / "a", "new")
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("new", "old")


def test_a_file_in_a_folder_that_takes_no_new_ones_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("old and longer")

    def full(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", full)
    write_whole(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "y", "new")


def test_a_file_written_in_place_is_put_back_where_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("old and longer than what comes")
    written = os.write
    calls: list[int] = []

    def breaks(descriptor: int, data: bytes) -> int:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return written(descriptor, bytes(data[:3]) if len(calls) == 1 else data)

    def busy(*args: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("os.replace", busy)
    monkeypatch.setattr("os.write", breaks)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new and of some length")
    assert path.read_text() == "old and longer than what comes"
    assert names(tmp_path) == ["x"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path, "x")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "x", "x")


def test_a_very_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text() == "two"


# Everything else -----------------------------------------------------------------------------------------------------


def test_a_pipe_with_a_name_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "x" * 200_000)
    reader.join(60)
    assert got == ["x" * 200_000] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_one(tmp_path: Path) -> None:
    before = os.stat("/dev/null")
    write_whole(Path("/dev/null"), "x")
    (tmp_path / "link").symlink_to("/dev/null")
    write_whole(tmp_path / "link", "x")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)
    with pytest.raises(OSError, match="No space left"):
        write_whole(Path("/dev/full"), "x")


def test_a_descriptor_is_written_where_it_stands(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w+") as log:
        log.write("before\n")
        log.flush()
        write_whole(Path(f"/dev/fd/{log.fileno()}"), "ours\n")
        write_whole(Path(f"/proc/self/fd/{log.fileno()}"), "and ours\n")
        write_whole(Path(f"/proc/{os.getpid()}/fd/{log.fileno()}"), "and again\n")
    assert (tmp_path / "log").read_text() == "before\nours\nand ours\nand again\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_whole(Path("/dev/fd/987"), "x")


OUTPUTS = {
    "process substitution": "$args translate train.sh -o >(cat >&2)",
    "standard output": "$args translate train.sh -o /dev/stdout",
    "standard error": "$args translate train.sh -o /dev/stderr",
    "behind what is there": "echo first > log; $args translate train.sh -o /dev/stdout >> log; cat log",
    "a pipe": "$args translate train.sh -o /dev/stdout | cat",
    "descriptor": "$args translate train.sh -o /dev/fd/7 7>&1",
    "link to standard output": "ln -s /dev/stdout link; $args translate train.sh -o link; [ -L link ]",
    "report": "$args report train.sh -o >(cat)",
    "audit": "$args audit train.sh -o >(cat)",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_bash_can_redirect_to_can_be_named(folder: Path, name: str) -> None:
    done = run(OUTPUTS[name] + "; code=$?; sleep 0.2; exit $code", folder)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "cannot be written" not in said
    assert ("num_layers: 2" in said) or ("num-layers" in said) or ("train.sh" in said)
    if name == "behind what is there":
        assert done.stdout.startswith("first\n") and "num_layers" in done.stdout


# What is read is not written over ------------------------------------------------------------------------------------

SOURCES = {
    "the script": "$args translate train.sh -o train.sh",
    "by another path": "$args translate train.sh -o ./../{folder}/train.sh",
    "behind a link": "ln -s train.sh link; $args translate train.sh -o link",
    "by a hard link": "ln train.sh other; $args translate train.sh -o other",
    "a link was read": "ln -s train.sh link; $args translate link -o train.sh",
    "standard input": "$args translate - -o train.sh < train.sh",
    "by its device": "$args translate /dev/stdin -o train.sh < train.sh",
    "a script it takes in": "echo 'source ./train.sh' > outer.sh; $args translate outer.sh -o train.sh",
    "report": "$args report train.sh --format html -o train.sh",
    "audit": "$args audit . -o train.sh",
    "a table": "printf 'title: t\\nabout: a\\narguments: {{}}\\n' > t.yaml;"
    " $args translate train.sh --mappings t.yaml -o t.yaml; grep -q title t.yaml && exit 1",
}


@pytest.mark.parametrize("name", SOURCES)
def test_no_source_is_written_over(folder: Path, name: str) -> None:
    done = run(SOURCES[name].format(folder=folder.name), folder)
    assert done.returncode == 1, done.stderr
    assert "does not write over what it reads" in done.stderr, done.stderr
    assert (folder / "train.sh").read_text() == SCRIPT


def test_only_regular_files_are_remembered(tmp_path: Path) -> None:
    remember("/dev/null")
    remember(tmp_path)
    remember(tmp_path / "not there")
    remember("a\0b")
    assert files._sources == set()
