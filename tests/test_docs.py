"""Every command that a page shows is run, and prints what the page says; see ``shown.py`` for how pages are written.

A command that needs what is not here is read by the parser of the program it starts, as far as there is one.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from recorded import WITH_CONTAINER
from shown import Block, blocks, commands, is_shown_by

import bridge_args
from bridge_args.bridge import installed
from bridge_args.cli import commands as commands_of_ours
from bridge_args.cli.parser import parser_of, split
from bridge_args.emit.hydra import unsayable
from bridge_args.findings import KINDS
from bridge_args.pairs.pairs import chosen_versions, megatron_version
from bridge_args.script.command import read_command
from bridge_args.versions import PROVEN

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")])
TROUBLE = ROOT / "docs" / "troubleshooting.md"
CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
OLD_CHECKOUT = os.environ.get("MEGATRON_LM_OLD", "")
SECONDS = 240  # for one command
OF_THE_USUAL_PAIR = pytest.mark.skipif(
    chosen_versions() != PROVEN, reason="pages show the pair that is usual without Bridge"
)

# These train or build the real configuration, which takes seconds: a second page that shows the same is not run.
SLOW = re.compile(r"bridge-args (rehearse|validate|verify|launch|modernize .* --prove)\b")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    return tuple(blocks(page, ROOT))


@cache
def run_elsewhere() -> frozenset[tuple[Path, int, int]]:
    """Slow commands that an earlier page shows too, on the same files: page, line of the block, line in it."""
    seen: dict[tuple[str, ...], Path] = {}
    again = set()
    for page in PAGES:
        for block in blocks_of(page):
            files = dict(pair.partition("=")[::2] for pair in files_of(page, block).split())
            for at, command in commands(block.text) if is_shell(block) else ():
                key = tuple(files.get(word, word) for word in shlex.split(command, comments=True))
                if SLOW.search(command) and seen.setdefault(key, page) != page:
                    again.add((page, block.line, at))
    return frozenset(again)


def files_of(page: Path, block: Block) -> str:
    """What lies in the folder, ``name=path``: what the page says, and an example's own files."""
    files = block.notes.get("files", "")
    if page.parent.parent.name == "examples":
        files += "".join(f" {file.name}={file.relative_to(ROOT)}" for file in page.parent.iterdir())
    return files


def is_shell(block: Block) -> bool:
    return block.language == "bash" and not block.title


# ---------------------------------------------------------------- what a command needs


def is_here(need: str) -> bool:
    """Is what a command needs on this machine?"""
    gpus = re.fullmatch(r"(\d+) GPUs?", need)
    if gpus:
        return gpu_count() >= int(gpus.group(1))
    match need:
        case "checkout":
            return bool(CHECKOUT) and find_spec("torch") is not None
        case "two checkouts":
            return is_here("checkout") and bool(OLD_CHECKOUT)
        case "checkout of this Bridge with a container":
            series = (installed.version() or "").rpartition(".")[0]
            return is_here("checkout") and megatron_version(CHECKOUT) == WITH_CONTAINER.get(series)
        case "Megatron Bridge":
            return find_spec("megatron") is not None and find_spec("megatron.bridge") is not None
        case "nemo-run":
            return find_spec("nemo_run") is not None
        case "Slurm":
            return shutil.which("sbatch") is not None and os.environ.get("BRIDGE_ARGS_SLURM") == "1"
        case "network" | "Megatron-LM":
            return False  # a test fetches nothing, and trains nothing for hours
    raise AssertionError(f"unknown need: {need}")


@cache
def gpu_count() -> int:
    if find_spec("torch") is None:
        return 0
    asked = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


# In a process of its own: setuptools takes an imported pip for a sign that it must not replace distutils, and cannot be
# imported itself any more, nor can what needs it (Python 3.11 and older).
ASK_PIP = """
import sys
from pip._internal.commands import create_command
_, wanted = create_command("install").parser.parse_args(sys.argv[1:])
assert wanted
"""


def check(command: str, folder: Path) -> None:
    """A command that cannot be run here: what it starts can read it."""
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    match words:
        case ["bridge-args", *rest]:
            known = rest[0] in commands_of_ours.NAMES
            before, _ = split(commands_of_ours.load(rest[0]).reworded(rest) if known else rest)
            parser_of(before).parse_args(before)
        case ["python", script, *_] if (folder / script).is_file() or (ROOT / script).is_file():
            compile(
                next(at for at in (folder, ROOT) if (at / script).is_file()).joinpath(script).read_text(),
                script,
                "exec",
            )
        case ["torchrun" | "srun" | "ft_launcher" | "python", *_]:
            read = read_command(words)
            assert read.program in ("pretrain_gpt.py", "bridge_args.pretrain_gpt"), read
            translation = bridge_args.translate(words)
            assert not translation.errors, translation.errors
        case ["sbatch" | "bash", *_, script]:
            done = subprocess.run(["bash", "-n", folder / script], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        case ["pip", "install", *rest]:
            done = subprocess.run([sys.executable, "-c", ASK_PIP, *rest], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        case ["make", *_]:
            dry = ["make", "--dry-run", "--directory", str(ROOT), *words[1:]]
            assert subprocess.run(dry, capture_output=True).returncode == 0
        case ["git", "clone", address, *_]:
            assert address.startswith("https://")
        case ["./make_fork.sh", *_]:
            assert os.access(folder / words[0], os.X_OK)
        case _:
            raise AssertionError(f"nobody can say whether this is right: {command}")


# ---------------------------------------------------------------- the pages


class Shell:
    """Runs commands in a folder; ``bridge-args``, ``python`` and ``torchrun`` are those of this checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "page"
        self.folder.mkdir()
        (folder / "bridge_args").symlink_to(ROOT / "bridge_args")  # where tests/fork looks for a catalog
        programs = {"bridge-args": "-m bridge_args", "python": "", "torchrun": "-m torch.distributed.run"}
        (folder / "bin").mkdir()
        for name, words in programs.items():
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            program.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PYTEST_"))},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TERM": "dumb",
        }

    def put(self, files: str) -> None:
        """Copies what a page's note says, ``name=path``; what is there already stays."""
        for pair in files.split():
            name, _, source = pair.partition("=")
            target = self.folder / name
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if source in ("checkout", "old-checkout"):
                given = CHECKOUT if source == "checkout" else OLD_CHECKOUT
                target.symlink_to(given or ROOT / "tests" / "fork", target_is_directory=True)
            elif source == "checkpoint":
                write_checkpoint(target)
            elif source == "whole-checkpoint":
                write_whole_checkpoint(target)
            elif (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)

    def run(self, command: str, *, gpus: bool = False) -> tuple[int, str]:
        """Exit status, and both streams as a terminal shows them; where no GPU is named, pages are about none."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment if gpus else {**self.environment, "CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout


def write_checkpoint(folder: Path) -> None:
    from saved_checkpoints import content_of, effective, pickled, zipped

    zipped(pickled(content_of(effective())), folder / "iter_0000005" / "common.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text("5")


def write_whole_checkpoint(folder: Path) -> None:
    """With tensors, whose embedding has 64 rows."""
    from saved_checkpoints import content_of, distributed, effective, pickled, zipped

    distributed(folder / "iter_0000005")
    values = effective() | {"padded_vocab_size": 64}
    zipped(pickled(content_of(values)), folder / "iter_0000005" / "common.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text("5")


@OF_THE_USUAL_PAIR
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    output: str | None = None  # of the last commands; None where they were not run
    for block in blocks_of(page):
        where = f"{name_of(page)}:{block.line}"
        shell.put(files_of(page, block))
        if block.title:
            (shell.folder / block.title).write_text(block.text, encoding="utf-8")
        elif is_shell(block):
            output = run_block(page, block, shell)
        elif "output" in block.notes and output is not None:
            if not is_shown_by(output, block.text):
                pytest.fail(f"{where}: the page shows\n{block.text}\nand it is\n{output}", pytrace=False)


def run_block(page: Path, block: Block, shell: Shell) -> str | None:
    needs = [need for need in block.notes.get("needs", "").split(", ") if need]
    here = all(map(is_here, needs))
    printed = []
    listed = [(at, command.replace("…", block.notes.get("…", "…"))) for at, command in commands(block.text)]
    for at, command in listed:
        where = f"{name_of(page)}:{block.line + at}"
        if not here or (page, block.line, at) in run_elsewhere():
            check(command, shell.folder)
            continue
        status, output = shell.run(command, gpus="GPU" in block.notes.get("needs", ""))
        wanted = int(block.notes.get("exit", "0")) if (at, command) == listed[-1] else 0
        if status != wanted:
            pytest.fail(f"{where}: {command}\nexit status {status}, not {wanted}:\n{output}", pytrace=False)
        printed.append(output)
    return "".join(printed) if len(printed) == len(listed) else None


@OF_THE_USUAL_PAIR
@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")], ids=name_of)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        for pair in block.notes.get("files", "").split():
            name, _, source = pair.partition("=")
            shutil.copy(ROOT / source, name)
    failed, tried = doctest.testfile(
        str(page), module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert tried > 0
    assert failed == 0


# ---------------------------------------------------------------- troubleshooting


def entries() -> Iterator[tuple[str, str]]:
    """Kind and level of every finding that the page on trouble speaks of."""
    yield from re.findall(r"^### `([a-z-]+)` \((\w+)\)", TROUBLE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_kind_of_finding_has_an_entry() -> None:
    assert sorted(entries()) == sorted((kind.name, kind.level) for kind in KINDS.values())


def test_the_page_names_the_losses() -> None:
    sentence = re.search(r"the losses are (.*?)\.\n", TROUBLE.read_text(encoding="utf-8"), re.DOTALL)
    assert sentence
    assert set(re.findall(r"`([a-z-]+)`", sentence[1])) == {kind.name for kind in KINDS.values() if kind.lost}


@OF_THE_USUAL_PAIR
def test_every_entry_shows_a_command_that_leads_to_it(tmp_path: Path) -> None:
    """The last command of a block with a ``kind`` note does have that finding, and every kind is among them."""
    shell = Shell(tmp_path)
    shown = []
    for block in blocks_of(TROUBLE):
        shell.put(block.notes.get("files", ""))
        if block.title:
            (shell.folder / block.title).write_text(block.text, encoding="utf-8")
        if kind := block.notes.get("kind"):
            shown.append(kind)
            *before, (_, command) = commands(block.text)
            for _, other in before:
                shell.run(other)
            assert kind in kinds_of(command.replace("…", block.notes.get("…", "…")), shell), command
    assert sorted(shown) == sorted(KINDS)


def kinds_of(command: str, shell: Shell) -> list[str]:
    """The kinds of what a ``translate`` or ``report`` command says."""
    if "--format overrides" in command:
        words = shlex.split(command.partition(" -- ")[2])
        return [finding.kind for finding in unsayable(bridge_args.translate(words))]
    command = re.sub(r" -o \S+", "", command)
    _, said = shell.run(re.sub("^bridge-args (translate|report)", "bridge-args report --format json", command))
    return [finding["kind"] for finding in json.loads(said)["findings"]]


# ---------------------------------------------------------------- the site


@pytest.mark.skipif(find_spec("zensical") is None, reason="zensical is not installed")
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("examples", "mappings", "tests"):  # pages include files of these
        (tmp_path / name).symlink_to(ROOT / name)
    for file in (*ROOT.glob("*.md"), ROOT / "zensical.toml"):
        shutil.copy(file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    built = sorted((tmp_path / "build" / "site").rglob("*.html"))
    assert len(built) >= len(list((ROOT / "docs").glob("*.md")))
    unmade = re.compile(r"```|\?\?\?|--8<-- \"")  # Markdown that nobody has made into anything
    assert [page.name for page in built if unmade.search(page.read_text(encoding="utf-8"))] == []
    loaded = re.compile(r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?(?:https?:)?//")
    assert [page.name for page in built if loaded.search(page.read_text(encoding="utf-8"))] == []


# ---------------------------------------------------------------- the reading of pages


@pytest.mark.parametrize(
    ("output", "shown", "same"),
    [
        ("a\nb\nc\n", "a\n…\nc\n", True),
        ("a\nc\n", "a\n…\nc\n", True),
        ("a\nb\n", "a\n", False),
        ("loss 6.94 lr 1\n", "loss … lr 1\n", True),
        ("loss 6.94 lr 2\n", "loss … lr 1\n", False),
        ("x:\n  a: 1\n  b: 2\n", "x:\n  # …\n  b: 2\n", True),
        ("a b\n", "a.b\n", False),
    ],
)
def test_output_and_what_stands_for_more_of_it(output: str, shown: str, same: bool) -> None:
    assert is_shown_by(output, shown) is same


def test_a_block_and_its_notes(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true\n")
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- files: a=b -->\ntext\n\n<!-- needs: network -->\n<!-- exit:\n 1 -->\n"
        "```bash\none \\\n  more\n# said\ntwo\n```\n"
        '\n1. item\n\n   ```bash title="y.sh"\n   --8<-- "x.sh"\n   ```\n'
    )
    first, second = blocks(page, tmp_path)
    assert first.notes == {"files": "a=b", "needs": "network", "exit": "1"}
    assert list(commands(first.text)) == [(0, "one \\\n  more"), (3, "two")]
    assert second == Block(17, "bash", "y.sh", "true\n", {"files": "a=b"})


@pytest.mark.parametrize(
    "command", ["bridge-args translat x", "torchrun nothing.py", "bridge-args translate --nope x", "unheard of"]
)
def test_a_command_that_is_wrong_is_found_without_running_it(command: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        check(command, tmp_path)
