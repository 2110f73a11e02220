"""Launch scripts are read as bash reads them; bash itself is the judge, with a stub in place of torchrun."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bridge_args.script.shell import read_script

STUB = 'torchrun() { printf "%s\\0" "$@"; }\n'

SCRIPTS = {
    "continuation lines": "torchrun --a 1 \\\n  --b 2 \\\n\n echo done\n",
    "comments": "# torchrun no\ntorchrun --a 1 # not this\n",
    "a comment sign inside a word": "torchrun --a x#y '#z'\n",
    "single quotes": "torchrun --a '$HOME \"x\" \\n' ''\n",
    "double quotes": 'N=3\ntorchrun --a "n is $N, \\$N, \\"q\\" \\\\ ${N}rd"\n',
    "a variable": "N=4\nM=${N}\ntorchrun --n $N --m=$M\n",
    "words in a variable": "ARGS='--a 1  --b 2'\ntorchrun $ARGS \"$ARGS\"\n",
    "an empty variable": 'E=""\ntorchrun --a $E "$E" --b\n',
    "defaults": "A=1\ntorchrun ${A:-2} ${B:-2} ${B-3} ${C:=5} $C ${D:-${A}x}\n",
    "an array": 'A=(--x 1 "two words" # comment\n  --y 2\n)\ntorchrun "${A[@]}" end\n',
    "array and more": 'A=(--x 1)\nA+=(--y 2)\nS=ab\nS+=cd\ntorchrun "${A[@]}" $S\n',
    "an empty array": 'A=()\ntorchrun a "${A[@]}" b\n',
    "an array inside a word": 'A=(1 2 3)\ntorchrun "<${A[@]}>"\n',
    "a split variable inside a word": "A='1 2 3'\ntorchrun x${A}y\n",
    "arithmetic": "N=8\nM=2\ntorchrun $((N*M)) $(( $N + 1 )) $((N / 3)) $((-N + 2*(M+1)))\n",
    "exports": "export N=3 M=4\nexport N\ntorchrun $N $M\n",
    "several commands on a line": "N=1; torchrun $N && echo x; echo y\n",
    "redirections": "torchrun --a 1 > /dev/stdout 2>&1\n",
    "a dollar alone": "torchrun $ 5$ '$'\n",
    "escapes": 'torchrun a\\ b \\$x \\\\ \\"\n',
    "carriage returns": "N=1\r\ntorchrun $N \\\r\n  --x\r\n",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_reads_what_bash_reads(script: str, tmp_path: Path) -> None:
    run = subprocess.run(
        ["bash", "-c", STUB + script.replace("\r\n", "\n")], capture_output=True, timeout=20, cwd=tmp_path, check=False
    )
    by_bash = run.stdout.split(b"done\n")[0].split(b"x\n")[0].decode().split("\0")[:-1]
    read = read_script(script, "train.sh")
    (command,) = [words for words in read.commands if words[0].text == "torchrun"]
    assert [word.text for word in command[1:]] == by_bash
    assert not read.findings


def test_places_are_the_users_lines() -> None:
    read = read_script('A=(\n  --x 1\n)\ntorchrun \\\n  --lr 2 \\\n  "${A[@]}"\n', "train.sh")
    (command,) = read.commands
    assert {word.text: str(word.place) for word in command} == {
        "torchrun": "train.sh:4", "--lr": "train.sh:5", "2": "train.sh:5", "--x": "train.sh:6", "1": "train.sh:6",
    }  # fmt: skip


def test_an_unset_variable_stays_and_is_named() -> None:
    read = read_script("torchrun --save $CKPT --load ${CKPT}/x\n", "train.sh")
    assert [word.text for word in read.commands[0]] == ["torchrun", "--save", "$CKPT", "--load", "${CKPT}/x"]
    (finding,) = read.findings
    assert finding.kind == "unresolved-variable"
    assert "--set CKPT=VALUE" in str(finding)
    assert read_script("torchrun $CKPT", "x", {"CKPT": "/c"}).commands[0][1].text == "/c"


@pytest.mark.parametrize(
    ("script", "construct"),
    [
        ("if true; then\n A=1\nfi\ntorchrun $A\n", "`if`"),
        ("for i in 1 2; do torchrun $i; done\n", "`for`"),
        ("A=$(date)\ntorchrun $A\n", "$(date)"),
        ("A=`date`\ntorchrun $A\n", "`date`"),
        ("cat > x <<EOF\nhello\nEOF\ntorchrun 1\n", "here-document"),
        ("torchrun ${A//x/y}\n", "${A//x/y}"),
        ("source other.sh\ntorchrun 1\n", "`source`"),
        ("torchrun 'open\n", "quote"),
        ("A=(1 2\n", "array"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named_with_its_line(script: str, construct: str) -> None:
    read = read_script(script, "train.sh")
    errors = [finding for finding in read.findings if finding.level == "error"]
    assert errors
    assert construct in errors[0].message
    assert str(errors[0]).startswith("train.sh:")


def test_nothing_is_executed(tmp_path: Path) -> None:
    target = tmp_path / "witness"
    read_script(f"A=$(touch {target})\ntouch {target}\ntorchrun `touch {target}`\n", "train.sh")
    assert not target.exists()
