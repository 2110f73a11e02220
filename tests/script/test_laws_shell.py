"""Scripts made up from the grammar that is read: the words are those that real bash passes to a stub."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import by_bash
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from bridge_args.script.read import read_script

SCALARS = ("A", "B", "C", "N", "M")
ARRAYS = ("X", "Y")
NUMBERS = ("N", "M")

plain = st.text("ab1-=./,:%@+x", min_size=1, max_size=5)
anything = st.text("ab1 -'\"$\\*?[]{}()<>|&;#~!`\t\n=,^é", max_size=6)
pattern = st.sampled_from(["a*", "*a", "?", "[ab]", "*", "a", "-", "[!a]*", "b?", "*.*", '"*"', "\\*", "1*[a-b]"])


def single_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def double_quoted(text: str) -> str:
    for char in '\\"$`':
        text = text.replace(char, "\\" + char)
    return f'"{text}"'


def escaped(text: str) -> str:
    return "".join("'\n'" if char == "\n" else "\\" + char for char in text)


def parameters(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """What can follow in ``${...}``."""
    name = st.sampled_from(names)
    return st.one_of(
        st.builds("${}".format, name),
        st.builds("${{{}}}".format, name),
        st.builds("${{{}{}{}}}".format, name, st.sampled_from([":-", "-", ":+", "+"]), plain),
        st.builds("${{{}:-{}}}".format, name, st.builds("$A {}".format, plain)),
        st.builds("${{{}:-{}}}".format, name, plain.map(double_quoted)),
        st.builds("${{#{}}}".format, name),
        st.builds("${{{}{}{}}}".format, name, st.sampled_from(["#", "##", "%", "%%"]), pattern),
        st.builds("${{{}{}{}/{}}}".format, name, st.sampled_from(["/", "//", "/#", "/%"]), pattern, st.just("z")),
        st.builds("${{{}:{}}}".format, name, st.integers(0, 3)),
        st.builds("${{{}:{}:{}}}".format, name, st.integers(0, 3), st.integers(0, 3)),
        st.builds("${{{}{}}}".format, name, st.sampled_from(["^^", ",,", "^", ","])),
    )


arrays = st.one_of(
    st.builds("${{{}[{}]}}".format, st.sampled_from(ARRAYS), st.sampled_from(["@", "*", "0", "1", "-1", "N % 2"])),
    st.builds("${{#{}[@]}}".format, st.sampled_from(ARRAYS)),
    st.builds("${{!{}[@]}}".format, st.sampled_from(ARRAYS)),
    st.builds("${{{}[@]:{}}}".format, st.sampled_from(ARRAYS), st.integers(0, 2)),
    st.builds("${{{}[@]{}}}".format, st.sampled_from(ARRAYS), st.sampled_from(["%a", "#b", "/a/c", "^^", ":-none"])),
)
expression = st.recursive(
    st.one_of(st.integers(0, 99).map(str), st.sampled_from(("N", "M", "$N", "${M}", "X[0]*0"))),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+ - * < > <= >= == != & | ^ && ||".split()), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from(("+", "-", "*", "<<")), st.integers(0, 9)),
        st.builds("{} {} {}".format, inner, st.sampled_from(("/", "%")), st.integers(1, 9)),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("({}{})".format, st.sampled_from(("!", "~", "-", "+")), inner),
    ),
    max_leaves=5,
)
arithmetic = st.builds("$(({}))".format, expression)
printed = st.one_of(
    st.builds("$(echo {})".format, plain),
    st.builds('$(printf "%s-%03d" {} {})'.format, plain, st.integers(0, 50)),
    st.builds("`echo {}`".format, plain),
    st.builds('$(echo "$A" {})'.format, plain),
    st.builds("$(f {} {})".format, plain, plain),
    st.builds("$(echo {} | tr a-b x-y)".format, plain),
    st.builds("$(basename /d/{}.json .json)".format, st.sampled_from(["m", "x.y"])),
)
expansion = st.one_of(
    parameters(SCALARS), arrays, arithmetic, printed, st.sampled_from(["$@", "$#", "$1", "$*", "${@:2}"])
)
piece = st.one_of(
    plain,
    anything.map(single_quoted),
    anything.map(double_quoted),
    anything.map(escaped).filter(bool),
    expansion,
    expansion.map('"{}"'.format),
    st.builds('"{} {}"'.format, plain, expansion),
    st.sampled_from(["{a,b}", "{1..3}", "{x,{y,z}}", "$", "''", '""']),
)
# "~" at the beginning of a word is the home of whoever runs it.
word = st.lists(piece, min_size=1, max_size=3).map("".join).filter(lambda text: not text.startswith("~"))
words = st.lists(word, max_size=4).map(" ".join)

test = st.one_of(
    st.builds('[ "$A" {} {} ]'.format, st.sampled_from(["=", "!="]), plain.map(single_quoted)),
    st.builds("[ $N {} {} ]".format, st.sampled_from("-eq -ne -lt -le -gt -ge".split()), st.integers(0, 9)),
    st.builds('[ {} "$B" ]'.format, st.sampled_from(["-n", "-z"])),
    st.builds("[[ $A {} {} ]]".format, st.sampled_from(["==", "!="]), pattern),
    st.builds("[[ $A =~ {} ]]".format, st.sampled_from(["^a", "b$", "[0-9]+", "a|b", "^(a+)(b?)"])),
    st.builds("(( {} ))".format, expression),
    st.sampled_from(["true", "false", '[ "$A" ]', "[[ -n $B && $N -gt 3 ]]", '[ -n "$A" -a "$N" = 3 ]', "! true", ":"]),
)


assigned = st.one_of(
    st.builds("{}={}".format, st.sampled_from("ABC"), word),
    st.builds("{}+={}".format, st.sampled_from("ABC"), word),
    st.builds("export {}={}".format, st.sampled_from("AB"), word),
    st.builds("{}={}".format, st.sampled_from(NUMBERS), st.integers(0, 20)),
    st.builds("{}={}".format, st.sampled_from(NUMBERS), arithmetic),
    st.builds("(({} {} {}))".format, st.sampled_from(NUMBERS), st.sampled_from(["=", "+=", "-="]), st.integers(0, 9)),
    st.builds("{}=({})".format, st.sampled_from(ARRAYS), words),
    st.builds("{}+=({})".format, st.sampled_from(ARRAYS), words),
    st.builds("{}[{}]={}".format, st.sampled_from(ARRAYS), st.integers(0, 3), word),
    st.builds("set -- {}".format, words),
    st.builds("read -r A B <<< {}".format, plain.map(double_quoted)),
    st.builds('read -ra X <<< "{} {}"'.format, plain, plain),
    st.builds("C=$(cat <<EOF\n{} $A\n$((N + 1))\nEOF\n)".format, plain),
    st.builds("mapfile -t Y <<'EOF'\n{}\n{}\nEOF\n".format, plain, plain),
    st.builds("unset {}".format, st.sampled_from("CX")),
    st.just("shift"),
)
statement = st.recursive(
    st.one_of(assigned, assigned, assigned, st.builds("torchrun {}".format, words)),
    lambda inner: st.one_of(
        st.builds("if {}; then\n{}\nelse\n{}\nfi".format, test, inner, inner),
        st.builds("{} && {{ {}\n}}".format, test, inner),
        st.builds("{} || {{ {}\n}}".format, test, inner),
        st.builds('case "$A" in\n{}) {} ;;\n{}|b*) {} ;;\n*) {}\nesac'.format, pattern, inner, pattern, inner, inner),
        st.builds("for A in {}; do\n{}\ndone".format, words, inner),
        st.builds(
            "for ((M = 0; M < {}; M++)); do\n{}\ndone".format,
            st.integers(0, 2),
            assigned.filter(lambda s: "M" not in s),
        ),
        st.builds("( {}\n)".format, inner),
        st.builds("g() {{ local A=$1\n{}\n}}\ng {}".format, inner, words),
        st.builds("{}\n{}".format, inner, inner),
        st.builds("eval {}".format, inner.map(single_quoted)),
        st.builds("bash -c {}".format, inner.map(single_quoted)),
    ),
    max_leaves=5,
)
scripts = st.lists(statement, min_size=1, max_size=6).map(
    lambda statements: (
        "A=ab.a\nB=\nC='x y'\nN=3\nM=7\nX=(a 'b c')\nY=()\nset -- p 'q r' s\n"
        'f() { echo "$2 $1"; }\n' + "\n".join(statements) + '\ntorchrun "$A" $B "$C" $N "${X[@]}" "${#Y[@]}" "$@"\n'
    )
)


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(scripts)
def test_made_up_scripts_are_read_as_bash_reads_them(script: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            expected = by_bash.passed(script, Path(folder))
        except subprocess.TimeoutExpired:  # many small programs on a busy machine
            reject()
    read = read_script(script, "train.sh")
    assert not [finding for finding in read.findings if finding.level == "error"]
    if any(finding.kind == "not-read" for finding in read.findings):
        return  # a value grew beyond the bounds, and that is said
    known = [s for s in read.commands if s.words[0].text == "torchrun"]
    if any(started.when or any(word.unresolved for word in started.words) for started in known):
        return  # the report names what is not known: a division by zero, a pattern that takes too long
    ours = without_repetition([[word.text for word in started.words] for started in known])
    assert ours == without_repetition(expected)


def without_repetition(commands: list[list[str]]) -> list[list[str]]:
    """A command that is started again with the same words is one for us."""
    made: list[list[str]] = []
    for command in commands:
        if command not in made:
            made.append(command)
    return made
