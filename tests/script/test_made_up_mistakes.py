"""Scripts with a mistake: what real bash refuses to read is not read either, and what stands before it is.

``BRIDGE_ARGS_MISTAKES=N`` compares N of them, ``BRIDGE_ARGS_SEED=N`` begins with another one.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import by_bash
import differences
import pytest
import scripts_made_up

from bridge_args.script.bash import grammar
from bridge_args.script.bash.budget import Budget
from bridge_args.script.bash.inside_words import SyntaxProblem
from bridge_args.script.bash.state import Sources

COUNT = int(os.environ.get("BRIDGE_ARGS_MISTAKES", "400"))
FIRST = int(os.environ.get("BRIDGE_ARGS_SEED", "1"))

pytestmark = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")

_TOKEN: Final = re.compile(r"\n|\s+|;;&|;;|;&|&&|\|\||[;&|(){}]|[^\s;&|(){}]+")
_SIGNS: Final = (
    *("; & && || | ( ) { } ;; ;& ;;& ! > < 2>&1 [[ ]] (( )) = A= A=( ` $( ' \" \\ x #x <<E f()".split(" ")),
    *("if then else elif fi do done while until for in case esac time select function".split()),
    "\n",
    "\n\n",
)


def mistaken(seed: int) -> str:
    """A made-up script in which one or two tokens are gone, changed, exchanged, or too many."""
    made = random.Random(seed)
    lines = scripts_made_up.script(seed).split("\n")
    tokens = _TOKEN.findall("\n".join(lines[scripts_made_up.PROLOGUE_LINES : -2]))
    for _ in range(made.choice((0, 1, 1, 1, 2))):
        if not tokens:
            break
        at, way = made.randrange(len(tokens)), made.random()
        if way < 0.35:
            del tokens[at]
        elif way < 0.7:
            tokens.insert(at, f" {made.choice(_SIGNS)} ")
        elif way < 0.8:
            tokens.insert(at, made.choice(_SIGNS))
        elif way < 0.9:
            tokens[at] = made.choice(_SIGNS)
        else:
            other = made.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return "".join(tokens) + "\n"


def problem(text: str) -> SyntaxProblem | None:
    return grammar.read(Sources().add(text, "train.sh"), Budget())[1]


def bash_refuses(text: str) -> str:
    """What bash says of it, reading and not running it; "" when it takes it."""
    bash = shutil.which("bash")
    assert bash
    asked = subprocess.run(
        [bash, "-n"],
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        check=False,
    )
    return asked.stderr.decode(errors="replace") if asked.returncode else ""


def test_what_bash_refuses_is_refused() -> None:
    refused, silent = 0, []
    for seed in range(FIRST, FIRST + COUNT):
        text = mistaken(seed)
        if said := bash_refuses(text):
            refused += 1
            if problem(text) is None:
                silent.append((seed, said))
    print(f"{refused} refused by bash, {len(silent)} of them read")
    assert refused > COUNT / 5
    assert len(silent) <= refused / 50, silent


# Each stands in a script of its own, between two lines that start something.
MISTAKES = (
    "if false; then\nfi",
    "if false; then\n    # torchrun a\nfi",
    "if false; then :; else\nfi",
    "if ; then :; fi",
    "while false; do\ndone",
    "for i in 1; do\n\n\ndone",
    "f() { }",
    "f() {\n# torchrun\n}",
    "f() torchrun",
    "function f torchrun",
    "( )",
    "{ ; }",
    "; torchrun",
    "torchrun & ;",
    "torchrun ;;",
    "&& torchrun",
    "torchrun && ; torchrun",
    "torchrun | | cat",
    "(torchrun) 2",
    "if :; then :; fi torchrun",
    "} torchrun",
    "fi",
    "in 1",
    "]]",
    "case a in | a) :;; esac",
    "case a in a) : ;; ; esac",
    "A=$((1 ' ))",
    'for ((i = 0; i < 2 "; i++)); do :; done',
    "torchrun > 2>&1",
    "torchrun ! | ! cat",
    "! &",
)
NO_MISTAKES = (
    "!",
    "if !; then :; fi",
    "time",
    "case a in esac",
    "case a in a) ;; esac",
    "case a in (a) esac",
    "for i in; do :; done",
    "for i\nin a; do :; done",
    "A=$( )",
    'A=$((1"2"))',
    "f() (:)",
    "f() if :; then :; fi",
    "function f() { :; } >/dev/null",
    "{ :; } | cat",
    "echo } fi in",
    ": & :",
)


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str, tmp_path: Path) -> None:
    assert bash_refuses(text)
    found = differences.compared(f"torchrun 1\n{text}\ntorchrun 2\n", by_bash.Judge(tmp_path))
    assert found.expected[:1] == found.ours[:1] == [["torchrun", "1"]]
    assert ["torchrun", "2"] not in found.expected + found.ours
    assert problem(text) is not None


@pytest.mark.parametrize("text", NO_MISTAKES)
def test_what_only_looks_like_one(text: str, tmp_path: Path) -> None:
    assert differences.compared(f"torchrun 1\n{text}\ntorchrun $?\n", by_bash.Judge(tmp_path)).outcome == "same"
