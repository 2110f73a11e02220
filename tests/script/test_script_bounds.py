"""Scripts that would take for ever, or all memory, end in one finding that says which bound and where.

All of them are read in one process with bounds for memory and for the time of each (``script_fuzz.bounded``).
"""

# ruff: noqa: E501  a script on one line can be compared with its neighbours

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import script_fuzz

from bridge_args.script.bash.budget import MAX_WORK, Budget, LimitReached
from bridge_args.script.bash.grammar import read as read_grammar
from bridge_args.script.bash.state import Sources
from bridge_args.script.read import read_script

RUN: Final = "\ntorchrun pretrain_gpt.py --lr 1\n"
NINES: Final = "9" * 5000
STEPS, WORK, CALLS, ARRAY = (
    "more than 20000 steps",
    "more than 10000000 characters",
    "more than 40 calls",
    "an array of more than 10000",
)
VALUE, WORDS, BRACES, DEEP = (
    "a value of more than 100000",
    "more than 10000 words",
    "more than 10000 words from braces",
    "nested too deep",
)
# script -> what is said; empty: it is read, and the program it starts is found
BOMBS: Final = {
    # braces
    "torchrun pretrain_gpt.py " + "{a" * 20_000: "",
    "torchrun pretrain_gpt.py " + "{a" * 8_000 + ",b" + "}" * 8_000: "",
    ": " + "{a," * 8_000 + "b" + "}" * 8_000: "braces nested more than 60 deep",
    ": {1..999999999}": BRACES,
    f": {{1..{NINES}}}": "",
    ": " + "{a,b,c}" * 20: BRACES,
    ": " + "x" * 200_000 + "{1..9999}": WORK,
    # files beside the script
    "mapfile -t A < lines.txt": ARRAY,
    "while read -r l; do X=$l; done < lines.txt": STEPS,
    "X=$(tail -1 lines.txt) Y=$(head -n 3 lines.txt) Z=$(cat lines.txt | wc -l)": "",
    "X=$(cut -d, -f2 < lines.txt | tail -1)": WORK,
    "for i in {1..5000}; do X=$(tail -1 lines.txt); done": WORK,
    "for i in {1..9000}; do cat lines.txt; done > x": WORK,
    "X=$(for i in {1..9000}; do cat lines.txt; done)": WORK,
    "source fifo.sh; source zero.sh; source sparse.sh; source folder; source loop.sh; . /dev/stdin; X=$(</dev/random)": "",
    # printing
    'A=$(printf "%3000000000s" x) B=$(printf "%.1999999999f" 1) C=$(printf "%.1999999999d" 1) D=$(printf "%*s" 999999999 x)': "",
    f'A=$(printf "%{"0" * 100_000}!" x) B=$(printf "%d %f" {NINES} {NINES})': "",
    'A=$(printf "' + "x" * 90_000 + '%s" {1..9000})': WORK,
    f"A=$(seq 1 1000000000) B=$(seq -s {'x' * 1000} 1 9999)": "",
    # values that grow
    "X=x; while :; do X=$X$X; done": VALUE,
    f"X={'a' * 90_000}\nY=${{X//a/$X}}": "",
    "A=(x); for i in {1..40}; do A+=(\"${A[@]}\"); done": ARRAY,
    "for i in {1..9999}; do A+=(''); done": WORK,
    "A=({1..9999})\n: " + '"${A[@]}"' * 5000: WORK,
    "echo x > f; while :; do cat f f > g; cat g > f; done": WORK,
    # arithmetic
    "".join(f"v{i}=v{i + 1}+v{i + 1}\n" for i in range(39)) + "v39=1\nX=$((v0))": WORK,
    f"X=$((9**9**9**9)) Y=$((1<<999999999)) Z=$((2**9999999999))\nX=$(({NINES[:4900]}))": "",
    "X=$((" + "1**" * 1600 + "1))": DEEP,
    # patterns
    f"x={'a' * 90_000}\n[[ $x == {'*a' * 200}b ]] && y=1": WORK,
    f"x=a\ncase $x in {'[[:' * 3_000}]) y=1;; esac": "",
    f"x={'a' * 35}\n[[ $x =~ (a|a)*b ]]\n[[ $x =~ ((a+)(a+))*b ]]\n[[ $x =~ {'a?' * 35} ]]\n[[ $x =~ (([a])+)+b ]]\ntrue": "",
    # what is nested, what goes round
    "f() { f; f; }\nf": CALLS,
    ". ./self.sh; . ./self.sh": CALLS,
    "X='eval \"$X\"; eval \"$X\"'\neval \"$X\"": CALLS,
    "f() { " + "if true; then " * 20 + "f; " + "fi; " * 20 + "}\nf": DEEP,
    "declare -n a=b; declare -n b=a; a=1": "references that go round in a circle",
    "[ " + "! " * 9_000 + "x ]": DEEP,
    "[[ " + "-n x && " * 40_000 + "x ]]": DEEP,
    # long texts
    ":\n" * 240_000: WORK,
    "X=" + "$a" * 240_000: WORK,
    "X=$'" + "\\x41" * 90_000 + "'": "",
    "X=${Y:-" + "a" * 400_000 + "}": VALUE,
    ": " + "w " * 20_000: WORDS,
    "#SBATCH --x " + "y" * 480_000: "",
    f"bash -{'c' * 100_000}! x": "",
    "for i in {1..9999}; do mkdir $i; done": "more than 2000 programs are started",
    "".join(f"source no{i}.sh\n" for i in range(18_000)): WORK,
    "source " + "a/" * 100_000 + "x.sh": "",
}  # fmt: skip


def beside(folder: Path) -> None:
    (folder / "lines.txt").write_text("\n" * 999_999)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo.sh")
    (folder / "zero.sh").symlink_to("/dev/zero")
    (folder / "loop.sh").symlink_to("loop.sh")
    with open(folder / "sparse.sh", "wb") as stream:
        stream.truncate(10**12)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (script_fuzz.MEMORY, script_fuzz.MEMORY))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside(folder)
        for script in BOMBS:
            (folder / "self.sh").write_text(script)
            made: dict[str, Any] = {"problem": "", "said": [], "found": False}
            try:
                with script_fuzz.bounded():
                    read = read_script(script + RUN, "train.sh", folder=folder)
                made["said"] = [str(finding)[:300] for finding in read.findings]
                made["found"] = any("pretrain_gpt.py" in map(str, started.words) for started in read.commands)
            except (Exception, script_fuzz.Hangs) as problem:
                made["problem"] = f"{type(problem).__name__}: {problem}"
            print(json.dumps(made), flush=True)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # where the modules are that tests share
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(BOMBS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("script", BOMBS, ids=[script[:40] for script in BOMBS])
def test_a_script_that_would_not_end_is_read_or_refused(script: str, outcomes: dict[str, dict[str, Any]]) -> None:
    made = outcomes[script]
    assert not made["problem"]
    stops = [text for text in made["said"] if "reading stops here" in text]
    if not BOMBS[script]:
        assert made["found"] and not stops, made["said"]
        return
    (stop,) = stops
    assert stop.startswith(("train.sh:", "self.sh:")) and BOMBS[script] in stop


@pytest.mark.parametrize(
    "piece", ["for x in (", "for x in <a", "case a in (", "[[ a", "$((", "a[", "A=([", "if", "{", "<<E", "${", "$'"]
)
def test_a_construct_that_is_cut_off_is_told(piece: str) -> None:
    for script in (piece, piece * 500, f"X=$({piece})", f"{piece}\ntorchrun a\n"):
        read = read_script(script, "train.sh")
        assert read.findings or read.commands or piece in ("<<E", "a["), script


def test_every_beginning_of_a_script_is_read() -> None:
    script = 'f() { local a=${1:-"x y"}; }\nfor x in {1..3} $(f "$(seq 2)"); do case $x in [0-9]) A[x]+=$((x << 2));; esac; done\n[[ $A =~ ^a(b)$ || -n `f` ]] && cat <<E | while read -r l; do :; done\n$A\nE\n'
    for end in range(len(script)):
        read_script(script[:end], "train.sh")


def test_indices_inside_each_other_are_read_once() -> None:
    """Each of them twice would be a thousand million readings."""
    for script in (
        "a[$(" * 29 + "x" + ")]" * 29,
        "a=([$(" * 29 + "x" + ")])" * 29,
        "a[" * 100_000,
        "a[;" * 100_000 + "]",
    ):
        budget = Budget()
        try:
            read_grammar(Sources().add(script, "t.sh"), budget)
        except LimitReached:
            pass
        assert budget.worked <= MAX_WORK + 100


@pytest.mark.parametrize(
    "script",
    [
        "A=$'\\ud800'\nB=$'\\xff'",  # bytes that are no text
        "set -- -ab x\ngetopts ab X\nset -- -a\nOPTIND=1 getopts ab X\ngetopts ab X\nset --\ngetopts ab X",
        f"shift {NINES}; head -n {NINES} self.sh; read -n {NINES} x <<< a; mapfile -n {NINES} x <<< a; [ {NINES} -gt 1 ]",
        f"OPTIND={NINES}; getopts a x; X=${{{NINES}}}; for i in 1; do break {NINES}; done; OPTIND=²; getopts a x",
        "#SBATCH --nodes=² --ntasks=٣",
        "#SBATCH --partition=a\ud800b\nX=$SLURM_JOB_PARTITION; [ $X = y ] && Y=1; sbatch <<E\n#SBATCH -J \ud801\necho\nE",
        "source x\0y; cat \"a\0b\"; cd $'c\\0d'; X=$(printf 'a\\0b')",
    ],
)  # fmt: skip
def test_no_text_raises(script: str, tmp_path: Path) -> None:
    read = read_script(script + RUN, "train.sh", folder=tmp_path)
    assert any("pretrain_gpt.py" in map(str, started.words) for started in read.commands)


def test_a_nul_is_told_with_its_line() -> None:
    (finding,) = read_script("A=1\nsource x\0y" + RUN, "train.sh").findings[:1]
    assert str(finding).startswith("train.sh:2: a NUL character")
    assert read_script("\0", "train.sh").findings


def test_what_looks_like_something_unknown_is_text() -> None:
    """The characters that stand for unknown values cannot be typed, or come in from outside."""
    read = read_script('torchrun "$A" "$1" \ud800', "\ud800.sh", {"A": "\ud800"}, ["\ud801"], inherited={"B": "\ud802"})
    assert [word.text for word in read.commands[0].words] == ["torchrun", "\ufffd", "\ufffd", "\ufffd"]
    assert not read.commands[0].unknown


if __name__ == "__main__":
    main()
