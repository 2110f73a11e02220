"""Launch scripts are read as bash reads them; bash itself is the judge, with stubs in place of programs (by_bash.py)."""

# ruff: noqa: E501  a script on one line can be compared with its neighbours

from __future__ import annotations

import os
import time
from pathlib import Path

import by_bash
import pytest

from bridge_args.script.bash.started import Started
from bridge_args.script.read import Script, read_script
from bridge_args.script.slurm import variables as slurm_variables

# ---------------------------------------------------------------- known wholly: word for word

SCRIPTS = {
    # words and quotes
    "continuation lines": "torchrun --a 1 \\\n  --b 2 \\\n\n echo done\n",
    "comments": "# torchrun no\ntorchrun --a 1 # not this\n",
    "a comment sign inside a word": "torchrun --a x#y '#z'\n",
    "a comment between continued lines ends the command": "torchrun --a 1 \\\n  # --b 2 \\\n  --c 3\n",
    "a comment behind a word and a backslash": "torchrun --a 1 \\ # --b\n",
    "single quotes": "torchrun --a '$HOME \"x\" \\n' ''\n",
    "double quotes": 'N=3\ntorchrun --a "n is $N, \\$N, \\"q\\" \\\\ ${N}rd \\x"\n',
    "dollar quotes": "torchrun $'a\\tb\\n' $'it\\'s' $'\\x41\\101' $\"plain\"\n",
    "quotes side by side": "N=a\ntorchrun x'y z'\"$N b\"c\\ d\n",
    "escapes": "torchrun a\\ b \\$x \\\\ \\\"\n",
    "a dollar alone": "torchrun $ 5$ '$' \"$\"\n",
    "carriage returns": "N=1\r\ntorchrun $N \\\r\n  --x\r\n",
    "a backslash at the end of the file": "torchrun --a 1 \\",
    "braces": "torchrun {1..4} {a,b}{x,y} {01..03} {c..e} {a} '{1,2}' x{,y} {1..7..3} {0..0} a{b,c{d,e}}f\n",
    # variables
    "a variable": "N=4\nM=${N}\ntorchrun --n $N --m=$M\n",
    "words in a variable": "ARGS='--a 1  --b 2'\ntorchrun $ARGS \"$ARGS\"\n",
    "words over several lines": 'ARGS="\n  --a 1 \\\n  --b 2\n"\ntorchrun $ARGS end\n',
    "an empty variable": 'E=""\ntorchrun --a $E "$E" --b\n',
    "a split variable inside a word": "A='1 2 3'\ntorchrun x${A}y x\"${A}\"y\n",
    "another separator": "A=1,2,,3,\nIFS=,\ntorchrun $A \"$A\"\n",
    "no separator": "A='1 2'\nIFS=\ntorchrun $A\n",
    "a list that starts empty": 'for i in 1 2; do A="$A --x $i"; B="--y $B"; done\nC+=" 1"\ntorchrun $A $B $C\n',
    "appending": "S=ab\nS+=cd\nS+=$S\ntorchrun $S\n",
    "exports": "export N=3 M=4\nexport N\ntorchrun $N $M\n",
    "declared": "declare N=3\nreadonly M=4\ndeclare -i S=N+M\nS+=1\ntorchrun $N $M $S\n",
    "unset": "A=1\nunset A\ntorchrun x$A ${A:-gone}\n",
    "a prefix is for one command only": "A=1\nA=2 torchrun $A\ntorchrun $A\n",
    "indirection": "A=B\nB=c\ntorchrun ${!A}\n",
    # ${...}
    "defaults": "A=1\ntorchrun ${A:-2} ${B:-2} ${B-3} ${C:=5} $C ${D:-${A}x} ${E:-a b} \"${E:-a b}\" ${E:-\"a b\"}\n",
    "defaults of the empty": "E=\ntorchrun ${E:-2} ${E-2}x ${E:+3}x ${E+3}\n",
    "when set": "A=1\ntorchrun ${A:+--flag $A} ${A:+\"--flag $A\"} ${NO:+--none}\n",
    "required and given": 'A=1\ntorchrun ${A:?must be given} ${A?}\n',
    "quotes in a default in quotes": "torchrun \"${X:-'a b'}\" \"${X:-\"c d\"}\" \"${X:-e}f}\"\n",
    "lengths": 'A=hello\nB=(1 2 3)\ntorchrun ${#A} ${#B[@]} ${#B} $#\n',
    "cut from the end": "F=/data/my.model.json\ntorchrun ${F%.*} ${F%%.*} ${F##*/} ${F#*/} ${F%/} ${F%\".json\"}\n",
    "replaced": "F=a-b-c\ntorchrun ${F/-/+} ${F//-/_} ${F/#a/x} ${F/%c/z} ${F//-} ${F//[ac]/.} \"${F//b/ }\"\n",
    "substrings": "F=abcdef\nN=2\ntorchrun ${F:1} ${F:1:2} ${F:N:N+1} ${F: -2} ${F:0:-1}\n",
    "upper and lower": "A=bf16\nB=FP8\ntorchrun ${A^^} ${A^} ${B,,} ${B,}\n",
    # arrays
    "an array": 'A=(--x 1 "two words" # comment\n  --y 2\n)\ntorchrun "${A[@]}" end\n',
    "array and more": 'A=(--x 1)\nA+=(--y "2 3")\ntorchrun "${A[@]}" ${A[@]} "${A[*]}" ${A[0]} $A\n',
    "an empty array": 'A=()\ntorchrun a "${A[@]}" b "${A[@]}"x ${A[@]:-none}\n',
    "an array inside a word": 'A=(1 2 3)\ntorchrun "<${A[@]}>" x"${A[*]}"\n',
    "an array of arrays": 'A=(1 "2 3")\nB=("${A[@]}" ${A[@]} 4)\ntorchrun "${B[@]}"\n',
    "elements": "A=(a b c)\nA[1]=x\nA[5]=y\nI=2\ntorchrun ${A[1]} ${A[I]} ${A[$I]} ${A[-1]} ${!A[@]} \"${A[@]:1:2}\"\n",
    "keys": 'declare -A M=([small]=8 ["large"]=80)\nM[x]=1\nK=large\ntorchrun ${M[small]} ${M[$K]} ${#M[@]} ${M[x]}\n',
    "patterns on arrays": "A=(a.json b.json)\ntorchrun ${A[@]%.json} \"${A[@]/#/--x=}\"\n",
    "from a text": 'T="1 2 3"\nA=($T)\nread -r -a B <<< "$T"\nIFS=, read -ra C <<< "x,y z"\ntorchrun ${#A[@]} ${#B[@]} "${C[@]}"\n',
    "lines to an array": "mapfile -t A <<EOF\none two\nthree\nEOF\ntorchrun \"${A[@]}\"\n",
    "a guarded empty array": 'set -u\nA=()\ntorchrun x ${A[@]+"${A[@]}"} y\n',
    # arithmetic
    "arithmetic": "N=8\nM=2\ntorchrun $((N*M)) $(( $N + 1 )) $((N / 3)) $((-N + 2*(M+1))) $((-7/2)) $((-7%3)) $((2**10))\n",
    "comparison": "N=8\ntorchrun $((N > 4 ? 1 : 2)) $((N == 8 && N != 2)) $((!N)) $((N >= 8 || 1/0)) $((~N & 0xff)) $((1 << 4 | 1))\n",
    "assignment in arithmetic": "N=1\n((N++))\n((N += 5))\nM=$((K = N * 2))\nlet N=N-1\ntorchrun $N $M $K\n",
    "bases": "torchrun $((010)) $((0x1F)) $((2#101)) $((10#08))\n",
    "names of names": "A=B\nB=5\ntorchrun $((A + 1)) $(( ${B}0 ))\n",
    "elements in arithmetic": "A=(3 4)\ntorchrun $((A[0] + A[1])) $[1 + 2]\n",
    "numbers wrap": "torchrun $((9223372036854775807 + 1))\n",
    # conditions
    "if": 'N=4\nif [ $N -gt 2 ]; then A=big; elif [ $N -eq 2 ]; then A=two; else A=small; fi\ntorchrun $A\n',
    "test": 'A=x\nif test "$A" = x -a -n "$A"; then B=1; fi\n[ "$A" != y ] && C=2\n[ -z "$A" ] || D=3\ntorchrun $B $C $D\n',
    "double brackets": 'A=bf16\n[[ $A == bf* && ! $A == "bf*" ]] && B=1\n[[ ( $A = x || -n $A ) && 3 -lt 10 ]] && C=2\n[[ $A < cf ]] && D=3\ntorchrun $B $C $D\n',
    "regular expressions": 'A=llama-70b\nif [[ $A =~ ^llama-([0-9]+)b$ ]]; then S=${BASH_REMATCH[1]}; fi\ntorchrun $S\n',
    "negation": "if ! [ 1 = 2 ]; then A=1; fi\nif ! false; then B=2; fi\ntorchrun $A $B\n",
    "arithmetic conditions": "N=4\nif (( N % 2 == 0 )); then A=even; fi\n(( N > 10 )) || B=few\ntorchrun $A $B\n",
    "and, or": "true && A=1 || A=2\nfalse && B=1 || B=2\nfalse || { C=3; D=4; }\ntorchrun $A $B $C $D\n",
    "case": "S=7b\ncase $S in\n  1b|7b) L=32 ;;\n  *b) L=64;;\n  *) exit 1\nesac\ntorchrun $L\n",
    "case falls through": 'case ab in\n a*) A=1 ;;&\n *b) B=2 ;&\n x) C=3 ;;\n *) D=4\nesac\ntorchrun $A $B $C\n',
    "case with quotes and classes": 'case "a b" in "a b") A=1;; esac\ncase 7 in [0-9]) B=2;; esac\ncase x in [!x]) C=3;; [[:alpha:]]) C=4;; esac\ntorchrun $A $B $C\n',
    "nested": "N=2\nif [ $N = 2 ]; then\n  case $N in 2) if true; then A=yes; fi;; esac\nfi\ntorchrun $A\n",
    "what is not set is empty in a condition": 'if [ -z "$NOT_SET" ]; then A=1; fi\nif [ "$NOT_SET" = x ]; then A=2; fi\nif [[ $NOT_SET -eq 0 ]]; then B=3; fi\ntorchrun $A $B\n',
    # loops
    "for": 'A=\nfor i in 1 "2 3" 4; do A="$A<$i>"; done\ntorchrun "$A"\n',
    "for with positional": 'set -- a "b c"\nfor i; do A+=("$i"); done\ntorchrun "${A[@]}"\n',
    "for numbers": "for ((i = 0; i < 3; i++)); do S+=$i; done\nfor i in {1..3} $(seq 4 5); do T+=$i; done\ntorchrun $S $T\n",
    "while": "N=0\nwhile [ $N -lt 3 ]; do N=$((N + 1)); done\nuntil (( N == 5 )); do ((N++)); done\ntorchrun $N\n",
    "break and continue": "for i in 1 2 3 4; do\n  [ $i = 2 ] && continue\n  [ $i = 4 ] && break\n  S+=$i\ndone\ntorchrun $S\n",
    "leaving two loops": "for i in 1 2; do for j in a b; do S+=$i$j; break 2; done; done\ntorchrun $S\n",
    "reading lines": 'while read -r a b; do S+="$a=$b;"; done <<EOF\nx 1 2\ny 3\nEOF\ntorchrun "$S"\n',
    "commands in a loop": "for tp in 1 2; do\n  torchrun --tp $tp\ndone\n",
    # functions and subshells
    "functions": 'f() { echo "$1-$2"; }\nfunction g { local A=in; B=$A; }\nA=out\ng\ntorchrun $(f 1 2) $A $B\n',
    "a function that returns": 'f() { [ "$1" = x ] && return 0; return 1; }\nf x && A=1\nf y || B=2\ntorchrun $A $B\n',
    "a function that starts it": 'run() { torchrun "$@" --last; }\nrun --a "b c"\n',
    "positional parameters": 'set -- a "b c" d\nshift\ntorchrun $# "$@" "$*" $1 "${@:2}" ${*}\n',
    "set and its options": 'set -- a b\nset -euo pipefail\nset -x +x -o errexit\ntorchrun "$@"\nset x\ntorchrun $1\n',
    "options of a function": 'f() { while [[ $# -gt 0 ]]; do case $1 in --n) N=$2; shift 2;; *) R+=("$1"); shift;; esac; done; }\nf --n 3 x y\ntorchrun $N "${R[@]}"\n',
    "getopts": 'set -- -n 4 -v rest\nwhile getopts "n:v" o; do case $o in n) N=$OPTARG;; v) V=1;; esac; done\nshift $((OPTIND - 1))\ntorchrun $N $V $1\n',
    "a subshell keeps its variables": "A=1\n(A=2; torchrun $A)\n{ A=3; }\ntorchrun $A\n",
    "a pipe is a subshell": "A=1\necho x | read A\ntorchrun $A\n",
    "exit ends it": "torchrun 1\nexit 0\ntorchrun 2\n",
    # substitution
    "what echo and printf print": "torchrun $(echo a b) \"$(echo 'a  b')\" $(printf '%s-%03d' x 7) `echo c` $(printf '%s,' 1 2)\n",
    "nested substitution": 'A=$(echo "$(echo "x y")")\ntorchrun "$A" "$(basename /a/$(echo b).json .json)"\n',
    "small programs": "torchrun $(dirname /a/b/c) $(basename /a/b.txt) $(expr 3 \\* 4) $(echo a:b:c | cut -d: -f2) $(echo ab | tr a-z A-Z)\n",
    "counting": "A='n1 n2 n3'\ntorchrun $(echo $A | wc -w) $(printf 'a\\nb\\n' | wc -l) $(printf 'a\\nb\\n' | head -n 1)\n",
    "the name of the script": 'torchrun $(dirname "$0") $(basename $0 .sh) ${0##*/} ${BASH_SOURCE[0]}\n',
    # here-documents and files
    "a here-document into a file": "N=3\ncat > args.txt <<EOF\n--n $N \\\n--m \\$N\nEOF\ntorchrun $(cat args.txt)\n",
    "a quoted here-document": "cat <<'EOF' > a\n$N `x`\nEOF\ntorchrun \"$(cat a)\" \"$(<a)\"\n",
    "a here-document with tabs": "A=$(cat <<-EOF\n\t\tx\n\ty\n\tEOF\n)\ntorchrun \"$A\"\n",
    "a script that is written and run": "cat > inner.sh <<'EOF'\ntorchrun --inner $1 \"$A\"\nEOF\nexport A='x y'\nB=no\nbash inner.sh 7\n",
    "written and sourced": "echo 'N=5' > env.txt\necho \"M=6\" >> env.txt\n. ./env.txt\ntorchrun $N $M\n",
    "tee": "echo 'N=5' | tee a.txt\nsource a.txt\ntorchrun $N\n",
    "a here-document for a shell": "N=4\nbash <<EOF\ntorchrun --n $N\nEOF\n",
    # what starts it
    "redirections": "torchrun --a 1 > log.txt 2>&1\ntorchrun --b 2 2> >(cat)\n",
    "a pipe to tee": "torchrun --a 1 2>&1 | tee log.txt\n",
    "in the background": "torchrun --a 1 &\nwait\n",
    "several commands on a line": "N=1; torchrun $N && echo x; echo y\n",
    "eval": 'CMD="torchrun --a \'b c\' $(echo d)"\neval "$CMD"\neval $CMD --again\n',
    "a command in a variable": 'CMD="torchrun --a b"\n$CMD --c\nC=(torchrun "x y")\n"${C[@]}"\n',
    "bash -c": 'export N=3\nM=4\nbash -c "torchrun --m $M --n \\$N"\nbash -c \'torchrun "$0" "$@"\' zero one "two 2"\n',
    "srun with a shell": 'ARGS="--a 1"\nsrun --nodes=1 -n 2 bash -c "\n  cd /x\n  export N=3\n  torchrun \\\n    --n \\$N $ARGS\n"\n',
    "srun, container, shell": "srun singularity exec --nv img.sif bash -c 'cd . && torchrun --a 1'\n",
    "docker": "docker run --rm --gpus all -e N=3 image bash -c 'torchrun --n $N'\n",
    "sbatch": 'sbatch -N 2 --wrap="torchrun --wrapped"\nsbatch <<EOF\n#!/bin/bash\ntorchrun --written\nEOF\n',
    "wrappers": "env A=1 nohup nsys profile -o x torchrun --a 1\nexec torchrun --b 2\n",
    "deepspeed and python": "deepspeed --num_gpus 8 train.py --a 1\npython -u -m torch.distributed.run --nproc_per_node 8 train.py\n",
    "time": "time torchrun --a 1\n! torchrun --b\n",
}  # fmt: skip


def commands(script: Script, *programs: str) -> list[list[str]]:
    """Those that end in a stub, from the stub on."""
    found = []
    for started in script.commands:
        texts = [word.text for word in started.words]
        at = next((i for i, text in enumerate(texts) if text in (programs or by_bash.RECORDING)), None)
        if at is not None:
            found.append(texts[at:])
    return found


def only(script: Script) -> Started:
    (started,) = [s for s in script.commands if s.words[0].text == "torchrun"]
    return started


needs_bash = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_reads_what_bash_reads(script: str, tmp_path: Path) -> None:
    expected = by_bash.passed(script.replace("\r\n", "\n"), tmp_path)
    assert expected, "the judge says nothing"
    read = read_script(script, "train.sh", folder=tmp_path / "nowhere")
    assert commands(read) == expected
    assert not [finding for finding in read.findings if finding.kind != "lost-words"]
    assert all(not word.unresolved for started in read.commands for word in started.words)


@needs_bash
def test_files_beside_the_script_are_read(tmp_path: Path) -> None:
    files = {
        "common.sh": 'BASE=1\nmodel_args() { ARGS+=(--model "$1"); }\n',
        "env.list": "A=x\nB=y\n",
        "args.txt": "--from file\n--more\n",
        "inner.sh": '#!/bin/bash\ntorchrun --inner "$@" $EXPORTED\n',
        "sub.sh": "N=${1:-none}\n. ./common.sh\n",
    }
    script = (
        'HERE=$(cd "$(dirname "$0")" && pwd)\nsource $HERE/common.sh\nmodel_args "a b"\nset -a; source env.list; set +a\n'
        "source sub.sh 5\nexport EXPORTED=e\n"
        'torchrun $BASE "${ARGS[@]}" $A $N $(cat args.txt) $(<args.txt)\nbash inner.sh 1 "2 3"\n./inner.sh 4\nsrun ./inner.sh 5\n'
    )
    expected = by_bash.passed(script, tmp_path, files=files)
    read = read_script(script, "train.sh", folder=tmp_path / "work")
    assert len(expected) == 4
    assert commands(read) == expected
    assert not read.findings


@needs_bash
def test_words_and_variables_of_our_own_command_line(tmp_path: Path) -> None:
    script = 'torchrun --data $1 --nodes ${NNODES:-1} --rest "${@:2}" $#\n'
    expected = by_bash.passed(script, tmp_path, {"NNODES": "4"}, ["/d", "x y", "z"])
    assert commands(read_script(script, "train.sh", {"NNODES": "4"}, ["/d", "x y", "z"])) == expected


# ---------------------------------------------------------------- places


def test_places_are_the_users_lines() -> None:
    read = read_script('A=(\n  --x 1\n)\ntorchrun \\\n  --lr 2 \\\n  "${A[@]}"\n', "train.sh")
    assert {word.text: str(word.place) for word in only(read).words} == {
        "torchrun": "train.sh:4", "--lr": "train.sh:5", "2": "train.sh:5", "--x": "train.sh:2", "1": "train.sh:2",
    }  # fmt: skip


def test_places_survive_variables_inner_shells_and_files(tmp_path: Path) -> None:
    (tmp_path / "model.sh").write_text('MODEL="\n  --layers 2"\n')
    script = ". ./model.sh\nexport MODEL OPT='--lr 1\n --wd 3'\nsrun bash -c '\n  torchrun $MODEL $OPT --end'\n"
    read = read_script(script, "train.sh", folder=tmp_path)
    (started,) = read.commands
    assert {word.text: str(word.place) for word in started.words} == {
        "srun": "train.sh:4", "torchrun": "train.sh:5", "--layers": "model.sh:2", "2": "model.sh:2",
        "--lr": "train.sh:2", "1": "train.sh:2", "--wd": "train.sh:3", "3": "train.sh:3", "--end": "train.sh:5",
    }  # fmt: skip
    assert started.words[-1].place is not None
    assert started.words[-1].place.column == 24


# ---------------------------------------------------------------- what is not known


def test_an_unset_variable_stays_and_is_named_once() -> None:
    read = read_script("torchrun --save $CKPT --load ${CKPT}/x --log $CKPT\n", "train.sh")
    words = only(read).words
    assert [word.text for word in words] == ["torchrun", "--save", "$CKPT", "--load", "$CKPT/x", "--log", "$CKPT"]
    assert [word.unresolved for word in words[2::2]] == [("CKPT",)] * 3
    (finding,) = only(read).findings
    assert finding.kind == "unresolved-variable"
    assert str(finding).startswith("train.sh:1: ")
    assert "--set CKPT=VALUE" in str(finding)
    assert only(read_script("torchrun $CKPT", "x", {"CKPT": "/c"})).words[1].text == "/c"


def test_unknown_names_do_not_run_into_what_follows() -> None:
    script = "D=$DATA\ntorchrun ${D}_x $D/y ${D}[0] ${D}.z\n"
    assert [w.text for w in only(read_script(script, "x")).words[1:]] == [
        "${DATA}_x",
        "$DATA/y",
        "${DATA}[0]",
        "$DATA.z",
    ]


@pytest.mark.parametrize(
    ("script", "word", "names", "says"),
    [
        ("H=$(hostname)\ntorchrun $H:1\n", "$H:1", ("H",), "$(hostname) is not run; kept as $H; give it with --set H=VALUE"),
        ("torchrun x-$(date +%s)\n", "x-$(date +%s)", ("$(date +%s)",), "$(date +%s) is not run"),
        ("torchrun `date`\n", "`date`", ("`date`",), "`date` is not run"),
        ("N=$NODES\ntorchrun $((N * 8))\n", "$((N * 8))", ("NODES",), "$((N * 8)) is not known without NODES"),
        ("torchrun ${F%.json}\n", "${F%.json}", ("F",), "give it with --set F=VALUE"),
        ("torchrun ${D:?where the data is}\n", "${D}", ("D",), "$D must be given: where the data is"),
        ("torchrun ~/x\n", "$HOME/x", ("HOME",), "--set HOME=VALUE"),
        ("torchrun --data $1\n", "$1", ("1",), "give it after the script's name"),
        ("torchrun /d/*.bin\n", "/d/*.bin", (), "bash fills in the file names"),
        ("G=$(nvidia-smi -L | wc -l)\ntorchrun $((G * 2))\n", "$((G * 2))", ("G",), "without G"),
        ("torchrun $RANDOM\n", "$RANDOM", ("RANDOM",), "--set RANDOM=VALUE"),
    ],
)  # fmt: skip
def test_what_is_not_known_stays_as_it_is_written(script: str, word: str, names: tuple[str, ...], says: str) -> None:
    started = only(read_script(script, "train.sh"))
    last = started.words[-1]
    assert (last.text, last.unresolved) == (word, names)
    assert [str(finding) for finding in started.findings if says in str(finding)]


def test_a_value_given_for_what_is_not_known() -> None:
    script = "GPUS=$(nvidia-smi -L | wc -l)\nTP=2\ntorchrun $((GPUS * 2)) $TP\n"
    started = only(read_script(script, "train.sh", {"GPUS": "8", "TP": "4"}))
    assert [word.text for word in started.words[1:]] == ["16", "2"]
    (finding,) = started.findings
    assert "the script sets TP itself" in finding.message


def test_an_unknown_condition_is_read_both_ways() -> None:
    script = "if grep -q H100 /etc/gpu; then T=8; else T=4; fi\ntorchrun $T\n"
    found = {started.words[1].text: started.when for started in read_script(script, "t.sh").commands[1:]}
    assert found == {
        "8": ("`grep -q H100 /etc/gpu` (line 1) holds",),
        "4": ("`grep -q H100 /etc/gpu` (line 1) does not hold",),
    }


def test_an_unknown_condition_that_changes_nothing_is_not_mentioned() -> None:
    script = "if [ ! -d /ckpt ]; then mkdir /ckpt; fi\ncommand -v x || echo none\ntorchrun 1\n"
    assert only(read_script(script, "t.sh")).when == ()


def test_an_unknown_case_has_as_many_ways_as_it_has_branches() -> None:
    script = 'case $(uname) in Linux) A=1;; Darwin) A=2;; esac\ntorchrun "${A:-0}"\n'
    whens = {s.words[1].text: s.when[0] for s in read_script(script, "t.sh").commands if s.words[0].text == "torchrun"}
    assert whens["1"].endswith("is Linux")
    assert whens["0"].endswith("is something else")
    assert len(whens) == 3


def test_what_a_condition_took_as_unset_is_said() -> None:
    started = only(read_script('if [ "$FP8" = 1 ]; then A=--fp8; fi\ntorchrun x $A\n', "t.sh"))
    assert [word.text for word in started.words] == ["torchrun", "x", "$A"]
    assert any("$FP8 is not set by the script and read as empty" in finding.message for finding in started.findings)


@pytest.mark.parametrize(
    ("script", "construct"),
    [
        ("torchrun 1\ntorchrun 'open\n", "quote"),
        ("A=(1 2\n", "array"),
        ("if true; then\n A=1\n", "`if`"),
        ("DATA=<path to data>\ntorchrun 1\n", "the placeholder <path to data>"),
        ("select x in 1 2; do torchrun $x; done\n", "`select`"),
        ("torchrun ${A@Z B}}{\n)\n", "`)`"),
        ("[[ x == @(a|b) ]]\n", "extended pattern"),
    ],
)
def test_what_is_not_read_is_named_with_its_line(script: str, construct: str) -> None:
    errors = [finding for finding in read_script(script, "train.sh").findings if finding.level == "error"]
    assert errors
    assert construct in errors[0].message
    assert str(errors[0]).startswith("train.sh:")


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("source /opt/conda/activate\ntorchrun 1\n", "not-read", "/opt/conda/activate is not read: it is not beside"),
        ("torchrun --a 1 \\\n # --b 2 \\\n --c 3\n", "lost-words", "the comment in line 2 ends the command"),
        ("torchrun --a 1\n --b 2\n", "lost-words", "the line before does not continue here"),
        ("torchrun --img <path to img> --a 1\n", "lost-words", "it is no placeholder"),
        ("for ((i = 0; i < N; i++)); do torchrun $i; done\n", "not-read", "the loop's rounds are not known without N"),
    ],
)  # fmt: skip
def test_what_may_surprise_is_said(script: str, kind: str, says: str) -> None:
    found = [finding for finding in read_script(script, "train.sh").findings if finding.kind == kind]
    assert found
    assert says in found[0].message


# ---------------------------------------------------------------- Slurm


def test_slurm_sets_variables_because_of_its_lines() -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=4 --job-name gpt # big\n#SBATCH --ntasks-per-node 1\n#SBATCH --gres=gpu:h100:8\n"
        "torchrun --nnodes $SLURM_NNODES --nproc-per-node $SLURM_GPUS_ON_NODE $SLURM_JOB_NAME $SLURM_NTASKS $SLURM_JOB_ID\n"
        "#SBATCH --nodes=9\n"
    )
    read = read_script(script, "train.sh")
    assert [word.text for word in only(read).words[1:]] == [
        "--nnodes", "4", "--nproc-per-node", "8", "gpt", "4", "$SLURM_JOB_ID",
    ]  # fmt: skip
    assert slurm_variables("torchrun\n#SBATCH -N 2\n") is None
    assert slurm_variables("#SBATCH -N2 -n 16 -G8\n") == {
        "SLURM_NNODES": "2", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "16", "SLURM_NPROCS": "16", "SLURM_GPUS": "8",
    }  # fmt: skip


def test_a_script_that_submits_itself() -> None:
    script = '#SBATCH -N 2\nif [ -z "$SLURM_JOB_ID" ]; then sbatch "$0"; exit; fi\ntorchrun $SLURM_NNODES\n'
    assert commands(read_script(script, "train.sh")) == [["torchrun", "2"]]


def test_a_job_that_queues_its_own_successor(tmp_path: Path) -> None:
    script = '#SBATCH -N 2\nif [ -e /go ]; then sbatch --dependency=singleton "$0"; fi\ntorchrun 1\n'
    (tmp_path / "train.sh").write_text(script)
    read = read_script(script, "train.sh", folder=tmp_path)
    assert commands(read) == [["torchrun", "1"]]
    assert not read.findings


def test_a_script_that_is_only_copied_is_not_started(tmp_path: Path) -> None:
    script = 'cp "$0" copy.sh\nchmod +x train.sh\ngrep x train.sh\ntorchrun 1\n'
    (tmp_path / "train.sh").write_text(script)
    read = read_script(script, "train.sh", folder=tmp_path)
    assert commands(read) == [["torchrun", "1"]]
    assert not read.findings


def test_a_script_without_slurm_lines_that_submits_itself(tmp_path: Path) -> None:
    script = 'if [ -z "$SLURM_JOB_ID" ]; then sbatch -N 2 "$0"; exit; fi\ntorchrun $SLURM_NNODES\n'
    (tmp_path / "train.sh").write_text(script)
    assert commands(read_script(script, "train.sh", folder=tmp_path)) == [["torchrun", "2"]]


# ---------------------------------------------------------------- bounds, and no effects


def test_nothing_is_executed(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    witness = tmp_path / "witness"
    script = (
        f"A=$(touch {witness})\ntouch {witness}\necho x > {witness}\ncat > {witness} <<EOF\nx\nEOF\nrm -rf {tmp_path}/keep\n"
        f"curl http://localhost:1/ | bash\nbash -c 'touch {witness}'\neval \"touch {witness}\"\ntorchrun `touch {witness}`\n"
        f"echo x | tee {witness}\n: > {witness}\nprintf x >> {witness}\n[ -f x ] || touch {witness}\n"
    )
    read_script(script, "train.sh", folder=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["keep"]


def test_only_files_beside_the_script_are_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("N=1")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(inside / "pipe")
    for path in ("../secret", "link", str(tmp_path / "secret"), "pipe", "/etc/passwd", "/dev/zero"):
        script = f"X=$(cat {path})\nsource {path}\ntorchrun $X $N\n"
        words = only(read_script(script, "train.sh", folder=inside)).words
        assert [word.text for word in words] == ["torchrun", "$X", "$N"], path


ENDLESS = {
    "while true": "while true; do sleep 1; done\n",
    "counting up": "i=0; while :; do i=$((i + 1)); done\n",
    "a retry loop": "until torchrun --a; do sleep 5; done\n",
    "for without end": "for ((;;)); do x=$x; done\n",
    "recursion": "f() { f; }\nf\n",
    "two functions": "f() { g $1$1; }; g() { f $1$1; }\nf x\n",
    "a script that sources itself": ". ./self.sh\n",
    "a script that runs itself": "bash self.sh\n",
    "eval of itself": 'X=\'eval "$X"\'\neval "$X"\n',
    "doubling": "A=x; while true; do A=$A$A; done\n",
    "doubling arrays": 'A=(x); while true; do A+=("${A[@]}"); done\n',
    "braces": "torchrun {1..9999}{1..9999}{1..9999}\n",
    "deep braces": "torchrun " + "{a,b}" * 40 + "\n",
    "a long series": "for i in $(seq 1 1000000000); do x=$i; done\n",
    "nested substitutions": "torchrun " + "$(echo " * 500 + ")" * 500 + "\n",
    "nested groups": "{ " * 5000 + "\n",
    "nested parentheses": "((" + "(" * 5000 + "1" + ")" * 5000 + "))\n",
    "many arithmetics left open": "$((" * 20_000 + "\n",
    "many conditions": "".join(f"if [ -f /x{i} ]; then A{i}=1; fi\n" for i in range(40)) + "torchrun 1\n",
    "hard patterns": "A="
    + "a" * 5000
    + "\n[[ $A == *a*a*a*a*a*a*a*a*b ]] && x=1\necho ${A//*a*a*a*a*a*b/x}\n[[ $A =~ (a+)+b ]]\n",
    "numbers": "A=2; for ((i = 0; i < 100; i++)); do A=$((A ** 60)); done\n",
    "many quotes": "torchrun " + "'a'\"b\"" * 20_000 + "\n",
    "many lines": "A+=xxxxxxxxxx\n" * 15_000 + "torchrun ok\n",
    "unread input": "while read x; do torchrun $x; done\n",
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_reading_ends(script: str, tmp_path: Path) -> None:
    (tmp_path / "self.sh").write_text(script)
    start = time.process_time()
    read_script(script, "self.sh", folder=tmp_path)
    assert time.process_time() - start < 10  # seconds; each takes less than one where nothing else runs


def test_what_stands_before_an_endless_loop_is_kept() -> None:
    read = read_script("torchrun 1 &\ni=0\nwhile true; do i=$((i + 1)); done\ntorchrun 2\n", "t.sh")
    assert commands(read) == [["torchrun", "1"]]
    assert any("reading stops here: more than" in finding.message for finding in read.findings)
