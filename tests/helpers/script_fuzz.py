"""Scripts that are nearly right, made from real ones, and what reading and translating each of them does.

Started as a program of its own (``python tests/helpers/script_fuzz.py SEED COUNT``), with bounds for memory and for the time
of each script: what raises, hangs or fills the memory is printed, a JSON object a line (``test_script_fuzz.py``).
"""

# ruff: noqa: E501  a table

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import shell_scripts

from bridge_args.source.read import from_text
from bridge_args.source.source import SourceError
from bridge_args.steps import Asked, translated

ROOT: Final = Path(__file__).resolve().parents[2]
MEMORY: Final = 1 << 30  # bytes
SECONDS: Final = 40  # of processor time for one script; each takes less than two where nothing else runs

PIECES: Final = (
    "$(", "${", "$((", "((", "))", "`", '"', "'", "$'", '$"', "{", "}", "(", ")", "[[", "]]", "[", "]", ";;", ";&", "&&", "||",
    "|", "&", ";", "\n", "\\", "\\\n", "#", "<<E", "<<-'E'", "<<<", "<(", ">(", "<", ">", ">>", "2>&1", "$", "$$", "$#", "$@",
    '"$@"', "$*", "$?", "$1", "${1:?x}", "${A[@]}", "${A[@]:1}", "${!A}", "${!A[@]}", "${#A[@]}", "${A//a/b}", "${A%%*}",
    "${A@Q}", "${A^^}", "${A:-}", "${A:1:-1}", "{1..3}", "{a,b}", "{a,{b,c}}", "{1..99999}", "*", "?", "~", "~+", "!", "=", "+=",
    "A=", "A+=(", "A[0]=", "A[", "[1]=", "a\0b", "\ud800", "\udcff", "é", "\U0001f600", "\r\n", "\t", "%s", "%999999999s", "-",
    "--", "if ", "then ", "else ", "elif ", "fi\n", "for x in ", "for ((;;)) ", "do ", "done\n", "while ", "until ", "case ",
    " in ", "esac\n", "function f ", "f() ", "select ", "time ", "coproc ", "eval ", "exec ", "source ", ". ", "set -- ", "set -eu ",
    "shift ", "read ", "mapfile ", "getopts ab X ", "local ", "declare -n ", "declare -A ", "export ", "readonly ", "unset ",
    "trap ", "exit ", "return ", "break ", "continue ", "let ", "printf ", "echo -e ", "test ", "bash -c ", "sbatch <<E\n", "srun ",
    "env ", "nohup ", "python -m ", "torchrun ", "cat ", "head -n ", "cut -d, -f", "tr ", "seq ", "tee ", "wc -l ", "bc ", "expr ",
    "#SBATCH --nodes=", "OPTIND=", "IFS=", "99999999999999999999", "0x", "08", "2#3", "**", "<<", "++", "--", "?:", ",",
)  # fmt: skip


def real_scripts() -> list[str]:
    """Scripts of the examples and of the tests."""
    files = [path for folder in ("examples", "tests") for path in sorted((ROOT / folder).rglob("*.sh"))]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files if path.stat().st_size < 50_000]
    return [*texts * 5, *shell_scripts.SCRIPTS.values(), *shell_scripts.ENDLESS.values()]


def mutated(script: str, others: list[str], chance: random.Random) -> str:
    """One to four changes: cut off, doubled, moved, spliced, brackets changed, pieces put in."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        a, b = sorted(chance.randrange(len(script) + 1) for _ in range(2))
        match chance.randrange(8):
            case 0:
                script = script[:a]
            case 1:
                script = script[:a] + script[b:]
            case 2:
                script = script[:b] + script[a:b] * chance.choice((1, 2, 50)) + script[b:]
            case 3:
                other = chance.choice(others)
                c, d = sorted(chance.randrange(len(other) + 1) for _ in range(2))
                script = script[:a] + other[c:d] + script[a:]
            case 4:
                table = dict(zip("()[]{}'\"`$", chance.sample("()[]{}'\"`$", 10), strict=True))
                script = script[:a] + "".join(table.get(char, char) for char in script[a:b]) + script[b:]
            case 5:
                script = script[:a] + "".join(chance.choices(PIECES, k=chance.choice((1, 2, 5)))) + script[a:]
            case 6:
                piece = chance.choice(PIECES) + chance.choice(("", " ", chance.choice(PIECES)))
                script = script[:a] + piece * chance.choice((3, 70, 1000)) + script[a:]
            case 7:
                lines = script.split("\n")
                chance.shuffle(lines)
                script = "\n".join(lines)
    return script[:100_000]


class Hangs(BaseException):
    """More than ``SECONDS`` for one script."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hangs

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def read(script: str, folder: Path) -> bool:
    """Reads and translates; True when the script starts Megatron-LM."""
    try:
        source = from_text(script, "train.sh", folder=folder)
    except SourceError as problem:
        assert str(problem)
        return False
    translation = translated(source, Asked(bridge="0.3.1"))
    for finding in translation.findings:
        assert str(finding)
    return True


def main(seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    scripts = real_scripts()
    translated_ones = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + count):
            chance = random.Random(number)
            script = mutated(chance.choice(scripts), scripts, chance)
            (Path(folder) / "self.sh").write_text(script, encoding="utf-8", errors="replace")
            try:
                with bounded():
                    translated_ones += read(script, Path(folder))
            except (Exception, Hangs) as problem:
                last = traceback.extract_tb(problem.__traceback__)[-1]
                what = f"{type(problem).__name__}: {problem} ({last.filename}:{last.lineno})"
                print(json.dumps({"seed": number, "problem": what, "script": script[:2000]}), flush=True)
    print(json.dumps({"read": count, "translated": translated_ones}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
