"""A script that ends before it starts anything: where, because of which condition, and what the user can give."""

# ruff: noqa: E501  a script on one line can be compared with its neighbours

from __future__ import annotations

import pytest

from bridge_args.script.read import read_script
from bridge_args.source.read import from_text
from bridge_args.source.source import SourceError

WORDS = "give the script its arguments after its name"
RUN = "\ntorchrun pretrain_gpt.py --lr 1\n"
USAGE = 'usage() {\n  echo "$0 SIZE"\n  exit 1\n}\n'
# script -> what is said of its end
ENDS = {
    "if [ $# -lt 2 ]; then\n  echo usage\n  exit 1\nfi": f"t.sh:3: the script ends here because [ $# -lt 2 ] holds: {WORDS}",
    "[ $# -eq 1 ] || exit 1": f"t.sh:1: the script ends here because [ $# -eq 1 ] does not hold: {WORDS}",
    "(( $# >= 1 )) || { echo usage; exit 1; }": f"because (( $# >= 1 )) does not hold: {WORDS}",
    "if ! [[ -n ${1:-} ]]; then exit 1; fi": f"because ! [[ -n ${{1:-}} ]] holds: {WORDS}",
    "case $# in\n 0|1) exit 1;;\nesac": f"t.sh:2: the script ends here because $# is 0 or 1: {WORDS}",
    'case "$1" in\n small) N=1;;\n *) exit 1;;\nesac': f't.sh:3: the script ends here because "$1" is something else: {WORDS}',
    USAGE + "test $# -gt 0 || usage": f"t.sh:5: the script ends here because test $# -gt 0 does not hold: {WORDS}",
    USAGE
    + "check() {\n  [ $# -gt 0 ] || usage\n}\ncheck": "t.sh:6: the script ends here because [ $# -gt 0 ] does not",
    'SIZE=${1:-}\nif [ -z "$SIZE" ]; then exit 1; fi': f'because [ -z "$SIZE" ] holds: {WORDS}',
    '[ -z "$DATA" ] && exit 1': 't.sh:1: the script ends here because [ -z "$DATA" ] holds: give it with --set DATA=VALUE',
    "[[ -n $A && -n $B ]] || exit 1": "because [[ -n $A && -n $B ]] does not hold: give it with --set A=VALUE --set B=VALUE",
    'DATA=${DATA:-}\n[ "$DATA" ] || exit 1': 'because [ "$DATA" ] does not hold: give it with --set DATA=VALUE',
    'test -d "$DATA" || exit 1': 'because test -d "$DATA" does not hold: give it with --set DATA=VALUE',
    'for v in DATA; do [ "${!v}" ] || exit 1; done': 'because [ "${!v}" ] does not hold: give it with --set DATA=VALUE',
    "if [ $# -lt 1 ]; then return 1 2>/dev/null || exit 1; fi": f"because [ $# -lt 1 ] holds: {WORDS}",
    "N=1\n[ $N = 2 ] || exit 1": "t.sh:2: the script ends here because [ $N = 2 ] does not hold",
    "exit 0": "t.sh:1: the script ends here with `exit`",
}


@pytest.mark.parametrize("script", ENDS)
def test_a_script_that_ends_early_says_which_condition_and_what_to_give(script: str) -> None:
    with pytest.raises(SourceError) as problem:
        from_text(script + RUN, "t.sh")
    assert ENDS[script] in str(problem.value)
    if "because" in ENDS[script]:
        assert "put the command line" not in str(problem.value)


@pytest.mark.parametrize(
    ("script", "given"),
    [
        ("if [ $# -lt 2 ]; then exit 1; fi", {"positional": ("1", "2")}),
        ('[ -z "$DATA" ] && exit 1', {"variables": {"DATA": "x"}}),
        ('SIZE=${1:-}\nif [ -z "$SIZE" ]; then exit 1; fi', {"positional": ("7b",)}),
        (USAGE + "test $# -gt 0 || usage", {"positional": ("7b",)}),
    ],
)
def test_what_is_said_helps(script: str, given: dict[str, object]) -> None:
    assert from_text(script + RUN, "t.sh", **given).command.program == "pretrain_gpt.py"  # type: ignore[arg-type]


def test_an_exit_of_a_subshell_is_not_the_scripts() -> None:
    assert read_script('(exit 1)\nX=$(exit 2)\n[ -n "" ] || (exit 3)\n', "t.sh").ends == ()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (": ${DATA:?the folder}", "$DATA must be given: the folder; give it with --set DATA=VALUE"),
        ("SIZE=${1:?usage}", "$1 must be given: usage; give it after the script's name"),
        ("set -u\necho $DATA", "$DATA must be given: `set -u` wants a value; give it with --set DATA=VALUE"),
    ],
)
def test_what_bash_insists_on_is_told_with_the_command(script: str, says: str) -> None:
    (started,) = read_script(script + RUN, "t.sh").commands
    assert any(says in str(finding) for finding in started.findings)
