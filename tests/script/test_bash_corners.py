"""Corners of bash that change what is passed: bash itself is the judge, and what it refuses is told with its line."""

# ruff: noqa: E501  a script on one line can be compared with its neighbours

from __future__ import annotations

from pathlib import Path

import by_bash
import pytest

from bridge_args.cli.main import main
from bridge_args.script.read import Script, read_script

pytestmark = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")

HOME = {"HOME": "/home/somebody", "LC_ALL": "C.UTF-8"}

# Read wholly: word for word, and nothing is said.
READ = {
    # declarations
    "words of export are expanded before one is set": "TP=1\nexport TP=4 PP=$TP\nf() { local A=7 B=$A; torchrun $B; }\nA=0\nf\ndeclare A=2 C=$A\ntorchrun $TP $PP $C\n",
    "braces in what is declared": "export A={1,2} B=x{3..4}\ntorchrun $A $B\n",
    "capital and small letters": "declare -u A=abc\nA+=d\ndeclare -l B=ABC\nB=Xy\ndeclare -c C=word\ndeclare -u D=(ab cd)\nD+=(ef)\ntorchrun $A $B $C ${D[@]}\n",
    "whole numbers": "declare -i A=2*3\nA+=4\nA=A*2\ndeclare -ai B=(1+1 2)\nB[0]+=5\ntorchrun $A ${B[@]}\n",
    "a reference": "add() { local -n to=$1; shift; to+=(\"$@\"); }\nARGS=(a)\nadd ARGS b 'c d'\ndeclare -n R=N\nR=5\ntorchrun \"${ARGS[@]}\" $N ${!R}\n",
    "a local variable hides another": "A=1\ng() { A=3; }\nf() { local A=2; g; torchrun $A; unset A; torchrun ${A-none}; }\nf\ntorchrun $A\n",
    "unset in a function further in": "A=x\nf() { local A=y; g; torchrun $A; }\ng() { unset A; }\nf\n",
    "a function for an inner shell": "f() { torchrun --in $1; }\nexport -f f\nbash -c 'f 1'\nbash -c \"$(declare -f f); f 2\"\n",
    # status
    "status of an assignment": "false\nrc=$?\nA=$(exit 3)\nB=$?\nC=1 D=$?\nif [ $rc -ne 0 ]; then X=2; else X=4; fi\ntorchrun $X $B $D\n",
    "status of what is negated": "! true\nA=$?\n! false\ntorchrun $A $?\n",
    "status of a failed test": "[ abc -gt 1 ]\nA=$?\n[ 1 = 2 ]\nB=$?\n[ a b ]\ntorchrun $A $B $?\n",
    "set -e and what it does not look at": "set -e\nif false; then :; fi\nfalse || true\n! true\nfalse && true\nf() { false; torchrun in; }\nif f; then torchrun yes; fi\nwhile false; do :; done\nA=$(false; echo a)\ntorchrun $A\n",
    "pipefail": "set -o pipefail\nfalse | true || A=1\ntrue | true && B=2\ntorchrun $A $B\n",
    "traps": "trap 'torchrun --bye $?' EXIT\ntrap 'torchrun --err $?' ERR\nfalse\n(trap 'torchrun --sub' EXIT; true)\nexit 4\n",
    # leaving
    "return where there is nothing to return from": "{ return; } 2>/dev/null\nbreak\ncontinue 2\n(return 3; torchrun $?)\ntorchrun 1\n",
    "break of more loops than there are": "for i in 1 2; do for j in a b; do break 9; done; done\ntorchrun $i$j\nf() { break; }\nfor i in 1 2; do f; done 2>/dev/null\ntorchrun $i\n",
    "return leaves a subshell only": "f() { (return 3; torchrun no); torchrun $?; eval 'return 7'; }\nf\ntorchrun $?\n",
    "a sourced file returns": "cat > .s <<'E'\nA=1\nreturn 3\nA=2\nE\n. ./.s\ntorchrun $A $?\n",
    # elements
    "elements that are not there": 'A=()\ntorchrun "${A[0]-ckpt}" "${A[0]+x}" "${A[@]-none}"\nB=([2]=c [5]="f g")\ntorchrun ${!B[@]} "${B[@]:3}" "${B[@]:0:1}" ${B[3]:-d} ${#B[5]} "${B[-1]}" ${B-unset}\n',
    "elements are set and added to": "A=(a b)\nA+=x\nA[3]+=d\nA+=([0]+=y [6]=g h)\nA=(\"${A[@]}\" z)\nunset 'A[1]'\ntorchrun ${!A[@]} \"${A[@]}\"\n",
    "what changes its own array": "A=(1 2)\nA+=($((A[3] = 4)) $((A[1]++)))\ntorchrun ${!A[@]} ${A[@]}\n",
    # expansion
    "braces come before variables": 'DATA1=/x DATA2=/y DATA=/z A1=one\ntorchrun $DATA{1,2} ${DATA}{1,2} "$DATA"{1,2} {$A,x}1\nset -- p\ntorchrun $1{0,1}\n',
    "all elements as one text": 'A=(a "b c" d)\nIFS==\nB=${A[*]}\nC=$*\nD=${A[@]}\ntorchrun --data-path $B "$D" "${A[*]}"\nIFS=\nE=${A[*]}\ntorchrun $E\n',
    "empty elements between separators": "A=('' b '' c '')\nIFS=,\ntorchrun ${A[*]} ${A[@]} x${A[*]}y\n",
    "letters and quotes": "A=abC\ntorchrun ${A@U} ${A@L} ${A@u} ${A@Q}\n",
    "nothing in quotes is a word": 'A=1 E=()\ntorchrun "${A:+}" ${A:+} "${NO-}" "${A+${E[@]}}" ${A+"${E[@]}"} "${E[@]}" end\n',
    "the home": 'A=~/a:~/b\nB=x:~\nexport C=~\nD=(~/d e=~/f)\ntorchrun ~/x a=~/y:~ --a=~/z "~/q" \\~ ~ $A $B $C "${D[@]}" ${NO:-~/n} "${NO:-~/n}" x~\ncase ~/x in $HOME/*) torchrun same;; esac\n',
    "elements that cannot be": "A=(1 2)\nS=abc\ndeclare -A K=([p]=1 [q]={a,b})\nE=\ntorchrun \"${A[-3]-none}\" \"${S[-1]}\" \"${S[-1]:-x}\" $((A[-9] + A[-1] + S[-1])) \"${K[$E]:+x}\" \"${K[$E]-y}\" ${K[q]}\nunset 'A[-7]' || torchrun $?\n",
    "words that may be none change nothing before them": "f() { local a=$1; shift; torchrun $a $# \"$1\"; }\nE=\nf x \"$E\" $E b\n",
    "escapes": "torchrun $'\\x41\\101\\u00e9\\303\\251\\cA\\q' $'a\\0b' \"$(echo -e '\\0101 \\101 a\\cb')\" \"$(printf '\\101\\t%b' '\\0101')\"\n",
    "commas between ? and :": "N=2 M=4\ntorchrun $((N ? M = 5, N + 1 : 7)) $M $((0 ? 1, 2 : 3))\n",
    "numbers in every base": "torchrun $((64#_)) $((36#zZ)) $((-7 ** 3)) $((2 ** 63)) $((1 ? 2 : 1/0))\nN=1\ntorchrun $((N += 2 + (N = 5))) $((N++ + ++N)) $N\n",
    # reading
    "backslashes in what is read": "echo '\\' | while read A; do torchrun never; done\nread A B <<< 'a\\ b c\\d'\nread -r C <<< 'a\\b'\nprintf 'x\\\\\\ny z\\n' | { read D E; torchrun $D $E; }\ntorchrun \"$A\" \"$B\" \"$C\"\n",
    "separators in what is read": "IFS=: read A B <<< '1:2:3:'\nIFS=: read C D <<< '1:2:'\nIFS=, read -ra E <<< 'a,,b,'\nread -d , F <<< 'x,y'\nread -n 2 G <<< abc\ntorchrun \"$A\" \"$B\" \"$D\" ${#E[@]} $F $G\n",
    "lines": "mapfile -t -s 1 -n 2 A <<< $'a\\nb\\nc\\nd'\nmapfile -t -O 4 A <<< z\nmapfile -t B < <(echo x; echo 'y z')\ntorchrun ${!A[@]} \"${A[@]}\" \"${B[@]}\"\n",
    "a here-document joins lines": "cat <<E1 > .f\na\\\nE1\nb \\\\\nE1\ntorchrun \"$(cat .f)\"\n",
    "options one after the other": 'f() { while getopts "ab:c" o; do case $o in b) B=$OPTARG;; a) A=1;; \\?) Q=1;; esac; done; }\nf -ab x --lr 2>/dev/null\ntorchrun "$A" "$B" "$Q" $OPTIND\nOPTIND=1\nwhile getopts :b: o -b; do torchrun "$o" "$OPTARG"; done\n',
    "nothing at all in quotes with $@": "Y=() B=\nset -- \"${Y[@]}$B\" \"$B${Y[@]}\" \"${Y[@]}${B:+x}\"\ntorchrun $#\nset --\nset -- \"$@$B\" \"$@\"$B\ntorchrun $#\nset -- '' \"$@\"\nset -- \"$@$B\"\ntorchrun $#\n",
    "braces that are text and braces that are not": "torchrun {a},b} {a..},c} {{a,b} {}{a,b} x{},y} {a,b{,c} {{a,{b,c},{}{d,e} {a..{b,c}} {,{}} {1..2}{,3}\n",
    "break in what a loop goes through": "for i in a $(break; echo b); do torchrun $i; done\nA=$(break; echo c)\ntorchrun $A\n",
    "a character as a number": "printf -v A %d,%d \"'a\" '\"\n'\ntorchrun $A\n",
    "what a program's redirection sets": "N=3 M=7\ncat <<E\n$((M = N))\nE\ntorchrun $M > f$((N++))\n: <<E\n$((M = N))\nE\ntorchrun $M $N\n",
    "signs that look like counting": "N=5\ntorchrun $((3---N)) $N $((3-- -N)) $((N--- 2)) $((3++4)) $((--3)) $((- --N)) $((N---1)) $((3 --- 010)) $((+++N))\n",
    "homes behind braces of what is declared": "export C={b,}a=b~:~ D={a,b}~ E={~,x}\ntorchrun \"$C\" \"$D\" \"$E\"\n",
    # others
    "letters and digits of other languages": "A=1\ntorchrun $A\u00e9 ${A}\u00e9 a\uff12>b {\u0661..\u0663} $((A)) x\u00a0y\nA=\"a b\u2003c\u00a0d\"\ntorchrun $A\n",
    "printf into variables": "printf -v A '%03d|%-4s|%x' 7 ab 255\nprintf -v 'B[2]' z\nprintf -v C '%d' 12abc 2>/dev/null\ntorchrun \"$A\" ${!B[@]} $C $?\n",
    "case goes on": "case ab in\na*) A=1 ;;&\nx) A=2 ;;&\n*b) B=1 ;&\ny) C=1 ;;\n*) D=1 ;;\nesac\ntorchrun \"$A$B$C${D-no}\"\n",
    "arguments of a sourced file": "echo 'torchrun \"$@\"; set -- new' > .s\nset -- old\n. ./.s in\ntorchrun \"$@\"\n",
    "the last of a pipeline in this shell": "shopt -s lastpipe\necho q | read A\ntorchrun $A\n",
    "numbers of a prefix": "N=3\nM=$((N++)) torchrun $N\ntorchrun $N\nA=1 B=$A bash -c 'torchrun $A $B'\n",
    "what a prefix sets has no attributes": "g() { torchrun \"$B\" \"${X[@]}\"; }\ndeclare -i B=1\nX=(1 2)\nB=2+3 g\nB+=4 g\nB=a.b X=5 g\nB=a.b eval 'torchrun e $B'\nf() { local -i B=2; B=x+1 g; B=B+1; torchrun $B; }\nf\ng\n",
    "builtin and command": "f() { torchrun f; }\ncommand eval 'torchrun c'\nbuiltin eval 'torchrun b'\nf\n",
    "a loop that only goes on inside a word": "N=0\nwhile getopts ab o -ab; do ((N++)); done\ntorchrun $N\n",
    "too many operands of a test": "X=(a 'b c')\n[ -n ${X[*]} ]\nA=$?\n[ 2 3 -eq 2 ]\nB=$?\n[ a = a -a -n ]\nC=$?\n[ ! -n a b ]\nD=$?\n[ '(' a = a ]\ntorchrun $A $B $C $D $?\n",
    "a pattern in quotes": "P='a*' Q='\\t' A='b\\tc' B='[a]'\nD=axax\ntorchrun \"${D#$P}\" \"${D##$P}\" \"${D#\"$P\"}\" \"${A%$A}\" \"${A/$Q/x}\"\n[[ $A == $A ]]\nC=$?\n[[ $B == $B ]]\ntorchrun $C $?\n",
    "an index has its effects once": "N=0 X=(5 6 7)\ntorchrun $((X[N++])) $N $((X[N++] = N)) \"${X[@]}\" $((X[N++] += N)) \"${X[@]}\" $((-X[0]--)) $((++X[0]))\n",
    "a word given to the script by its number": "set -- x y z\nN=3 M='#'\ntorchrun ${!N} ${!#} ${!M} \"${!N%z}\" ${!N:-q}\nN=9\ntorchrun \"${!N-none}\"\n",
    "words of a function in a sourced file": "echo 'f() { set -- in; }; f x; torchrun \"$@\"' > s\nset -- old\n. ./s new\ntorchrun \"$@\"\n",
    "the status in a loop is the one before it": "for i in $(false) a; do torchrun $?; done\nfalse\nfor ((i = 0; i < 1; i++)); do torchrun $?; done\nfalse\nfor i in; do :; done\ntorchrun $?\n",
    "what a prefix sets beside itself stays": "B=\nB=${B:=x} torchrun p\ntorchrun $B\nA=0\nA=1 C=${C:=$A} torchrun q\ntorchrun $A $C\n",
    "a blank behind a number": "printf -v A %d '7 '\ntorchrun $A $?\nprintf -v A %d ' 7'\ntorchrun $A $?\n",
    "a local variable hides a readonly one of another function": "f() { local -r B=1; g; torchrun $B; }\ng() { local B=2; torchrun $? $B; }\nf\n",
    "a number of nothing but blanks": "printf -v A %d ' '\ntorchrun $A $?\nprintf -v A %d ''\ntorchrun $A $?\n",
    "protected blanks at the end": "read A <<< 'a \\ '\nread B <<< 'a\\ '\nread C D <<< 'a b\\ '\nread E <<< 'a b \\ \\'\ntorchrun \"$A\" \"$B\" \"$D\" \"$E\"\n",
}  # fmt: skip

# bash refuses something: the words are the same, and the line is told.
REFUSED = {
    "readonly": ("readonly TP=2\nTP=4; torchrun never\ntorchrun $TP\n", 2, "TP is readonly"),
    "readonly in a declaration": ("readonly TP=2\nexport TP=4 PP=1\ntorchrun $TP $PP $?\n", 2, "it is readonly"),
    "readonly in a loop": ("readonly i=2\nfor i in 3; do torchrun never; done\ntorchrun $i $?\n", 2, "it is readonly"),
    "readonly in a function": ("readonly A=1\nf() { A=2; torchrun never; }\nf; torchrun never\ntorchrun $A\n", 2, "A is readonly"),
    "set -e": ("set -e\ntorchrun 1\nfalse\ntorchrun 2\n", 3, "`set -e` is on"),
    "set -e in a function": ("set -e\nf() { false && true; }\ntorchrun 1\nf\ntorchrun 2\n", 4, "`set -e` is on"),
    "set -e and a pipe": ("set -eo pipefail\ntorchrun 1\nfalse | true\ntorchrun 2\n", 3, "`set -e` is on"),
    "set -e and a count": ("set -e\ni=0\ntorchrun $i\n((i++))\ntorchrun 2\n", 4, "`set -e` is on"),
    "set -e and a key that is empty": ("set -e\ndeclare -A K=([p]=1) E=\ntorchrun 1\nif [ \"${K[$E]:+x}\" ]; then torchrun never; fi\ntorchrun 2\n", 4, "names no element"),
    "set -e and an element that cannot be": ("set -e\nS=abc\ntorchrun 1\nA=$((S[-1] + 1)) || torchrun never\ntorchrun 2\n", 4, "no such element"),
    "set -e and readonly in a condition": ("set -e\nreadonly A=1\ntorchrun 1\nif A=2; then torchrun never; fi\ntorchrun 2\n", 4, "A is readonly"),
    "set -e and readonly behind ||": ("set -e\nreadonly A=1\ntorchrun 1\nexport A=2 || torchrun never\ntorchrun 2\n", 4, "it is readonly"),
    "set -e and readonly in arithmetic": ("set -e\nreadonly A=1\ntorchrun 1\n((A = 2)) || torchrun never\ntorchrun 2\n", 4, "A is readonly"),
    "the length of no element": ("A=(1)\ntorchrun ${#A[-2]}; torchrun never\ntorchrun 2\n", 2, "names no element"),
    "set -u": ("set -u\nunset A\ntorchrun 1\ntorchrun $A\ntorchrun 2\n", 4, "A has no value"),
    "a required value": ("A=\ntorchrun 1\ntorchrun ${A:?give it}\ntorchrun 2\n", 3, "give it"),
    "a length below 0": ("PP=4\ntorchrun --save ${PP:1:-1}; torchrun never\ntorchrun 2\n", 2, "less than 0"),
    "division by 0": ("N=0 A=\nif true; then A=$((8 / N)); torchrun never; fi\ntorchrun x$A\n", 2, "division by 0"),
    "no arithmetic": ("A=$((1 +)); torchrun never\ntorchrun $?\n", 1, "syntax error"),
    "no such element": ("A=()\nA[-1]=x; torchrun never\ntorchrun ${#A[@]}\n", 2, "no such element"),
}  # fmt: skip

# What a mistake ends: the line, and for those of an index or a whole number also the sourced file around it.
ENDS = {
    "an expression": ("echo 'A=$((1+))\ntorchrun in $?' > s\n. ./s; torchrun same\ntorchrun $?\n", 1, "a syntax error"),
    "an index": ("echo 'A=${X[1+]}\ntorchrun never' > s\n. ./s; torchrun never\ntorchrun $?\n", 1, "a syntax error"),
    "an index in arithmetic": ("eval '((X[1+] = 2))\ntorchrun never'; torchrun never\ntorchrun $?\n", 1, "a syntax error"),
    "a whole number": ("declare -i M\nfalse\neval 'M=0.1\ntorchrun never'; torchrun never\ntorchrun $?\n", 3, "a syntax error"),
    "a whole number in a shell": ("declare -i M\nbash -c 'declare -i M\nM=0.1\ntorchrun never'; torchrun $?\n", 3, "a syntax error"),
    "a failure before is not replaced": ("f() { return 3; }\ndeclare -i M\nM=$(f)0.1; torchrun never\ntorchrun $?\n", 3, "a syntax error"),
    "another kind of array": ("declare -a X=(1)\ndeclare -A X\ntorchrun $? ${X[0]}\n", 2, "another kind of array"),
    "a reference to nothing": ("declare -n R=1x\ntorchrun $?\n", 1, "no name"),
    "a name that cannot be": ("N=8ab\ntorchrun ${!N}; torchrun never\ntorchrun $?\n", 2, "cannot be the name"),
    "a sum with what is no number": ("C='x y'\ndeclare -i C+=x^y; torchrun never\ntorchrun $? $C\n", 2, "a syntax error"),
    "the name of nothing": ("unset N\ntorchrun ${!N}; torchrun never\ntorchrun $?\n", 2, "is unset"),
    "a redirection of a program": ("N=1a\ncat <<< $((N)); torchrun $?\n", 2, "does not start this program"),
    "a redirection of a program in a condition": ("unset U\nif cat > ${U:?gone}; then torchrun never; else torchrun $?; fi\n", 2, "gone"),
    "a redirection of a subshell": ("(torchrun never) > $((1 +)) || torchrun $?\n", 1, "a syntax error"),
    "the status of a mistake in a substitution": ("no() { return 3; }\ndeclare -i M\nA=$(no; M=1a)\ntorchrun $?\n", 3, "no number"),
    "the status of a mistake in a shell": ("bash -c 'no() { return 3; }; declare -i M; no; M=1a'\ntorchrun $?\n", 1, "no number"),
    "too many words for return": ("echo 'f() { false; return 0 x; }\nf\ntorchrun never' > s\n. ./s; torchrun never\ntorchrun $?\n", 1, "return takes one number"),
    "a mistake sets nothing behind it": ("N=1\nX=$((N = 5 + 7a))\ntorchrun $N\n", 2, "no number"),
    "a mistake sets what is before it": ("N=1\nX=$((N = 5, 7a))\ntorchrun $N\n", 2, "no number"),
    "a reference to itself": ("declare -n A=A\ntorchrun $?\n", 1, "refer to itself"),
    "a value of what is readonly": ("readonly A=1\nunset Y\nA=${Y:?never} torchrun $A\n", 3, "it is readonly"),
    "a prefix with a mistake": ("A=0\nA=1 B=$((1 +)) torchrun never\ntorchrun $A\n", 2, "a syntax error"),
    "a readonly list in a declaration": ("N=1\nreadonly X=(1)\nreadonly X=($((N += 2))); torchrun never\ntorchrun $N\n", 3, "X is readonly"),
    "a readonly list": ("N=1\nreadonly X=(1)\nX=($((N += 2))); torchrun never\ntorchrun $N\n", 3, "X is readonly"),
    "an index without its bracket": ("N='q['\nX=$((N)); torchrun never\ntorchrun $?\n", 2, "its bracket"),
    "too many words for return, one with a sign": ("f() { return -17 x; }\nf; torchrun never\ntorchrun $?\n", 1, "return takes one number"),
}  # fmt: skip

# Not read: it is told, with its line.
TOLD = {
    "quotes with nothing beside $@": ("set --\nE=\nset -- \"$*$E$@\"\ntorchrun $#\n", 3),
    "no word where no file fits": ("shopt -s nullglob\nX=(a b)\nunset X[1]\ntorchrun ${X[@]}\n", 3),
    "options that are none": ("A=--lr18\ndeclare $A=1\ntorchrun $?\n", 2),
    "a name with letters of other languages": ("A=b\u00e9\nexport $A\ntorchrun $?\n", 2),
    "a list of keys with a mistake in it": ("declare -A K=([p]=1)\nK+=([p]=2 [q]=$((1+)))\ntorchrun ${K[p]}\n", 2),
    "a list with a mistake in an index": ("A=(1 2)\nA=([0]=5 [1+]=4)\ntorchrun ${A[0]}\n", 2),
    "a list with an index that cannot be": ("A=(1 2)\nA=([0]=5 [-9]=4 [3]=8)\ntorchrun ${A[3]}\n", 2),
    "a list with an empty key": ("declare -A K=([p]=3 []=4 [w]=2)\ntorchrun ${K[w]}\n", 1),
    "how much a program prints": ("A=($(nvidia-smi -L))\ntorchrun ${#A[@]}\n", 2),
    "words that a program prints": ("set -- a $(hostname -I) b\ntorchrun $3\n", 2),
    "a piece of what a program prints": ("A=(x $(lscpu) y)\ntorchrun \"${A[2]}\"\n", 2),
    "extended patterns": ("shopt -s extglob\nA=aaab\ntorchrun \"${A##+(a)}\" ${A//@(a|b)/x}\n", 3),
    "extended patterns in a variable": ("P='@(a|b)'\nif [[ a == $P ]]; then A=1; fi\ntorchrun x$A\n", 2),
    "bytes that are no text": ("torchrun $'\\777'\n", 1),
    "bytes that echo prints": ("A=$(echo -e '\\0777')\ntorchrun \"$A\"\n", 1),
    "DEBUG": ("trap 'A=1' DEBUG\ntorchrun $A\n", 1),
    "aliases": ("shopt -s expand_aliases\nalias t='torchrun 1'\nt\n", 1),
    "letters do not matter": ("shopt -s nocasematch\n[[ A == a ]] && torchrun 1\n", 1),
    "posix": ("set -o posix\ntorchrun 1\n", 1),
    "select": ("select A in 1 2; do torchrun $A; done\n", 1),
    "coproc": ("coproc torchrun 1\n", 1),
    "names that begin with": ("AB=1\ntorchrun ${!A@}\n", 2),
    "somebody's home": ("torchrun ~somebody/x\n", 1),
    "two homes in a word": ("torchrun ~:~\n", 1),
    "a random number": ("RANDOM=5\ntorchrun $RANDOM\n", 2),
    "two statuses that nobody knows": ("which srun\nA=$?\nwhich sbatch\nB=$?\n[ $A = $B ] && torchrun same\n", 5),
    "a function where it is not known": ("f() { torchrun 1; }\nbash -c f\n", 2),
    "set -e and what nobody knows": ("set -e\n[ -d /data ]\ntorchrun 1\n", 2),
    "a circle of references": ("declare -n A=B\ndeclare -n B=A\nA=1\ntorchrun 1\n", 3),
    "braces behind an index": ("A=(a b)\nA=([0]+={4..4} c)\ntorchrun ${A[@]}\n", 2),
    "several in braces behind an index": ("A=([0]={4,5}c)\ntorchrun ${A[@]}\n", 1),
    "an empty index in arithmetic": ("declare -A K=([p]=1) E=\ntorchrun $((K[$E]))\n", 2),
    "words that may be none": ("f() { torchrun $#; }\nf $U b\n", 1),
    "a word behind one that may be none": ("f() { torchrun \"$2\"; }\nf $U b c\n", 1),
    "what is left behind one that may be none": ("f() {\nshift\ntorchrun \"$@\"; }\nf $U b c\n", 2),
    "a word that is there or not": ("f() { torchrun ${1+set} ${@+all}; }\nf $U\n", 1),
    "words of a sourced file that may be none": ("echo 'torchrun $# \"$1\"' > s\nset -- old\n. ./s $U\n", 3),
    "elements behind one that may be none": ("A=($U b c)\ntorchrun ${A[1]}\n", 2),
    "the number of elements, one of which may be none": ("A=(a $U)\nN=$(( ${#A[@]} ))\ntorchrun $N\n", 2),
    "letters of another language": ("A=\u00e9a\ntorchrun ${A#[[:alpha:]]}\n", 2),
    "a class that is not read": ("[[ a == [[:print:]] ]] && torchrun 1\n", 1),
    "a file for input that may not be there": ("torchrun 1 < missing\n", 1),
    "a file for the input of several commands": ("A=1\n{ A=2; } < missing\ntorchrun $A\n", 2),
    "a status that depends on a file": ("cat < missing > /dev/null\ntorchrun $?\n", 2),
    "set -e and a file for input": ("set -e\nmapfile -t A < missing\ntorchrun 1\n", 2),
    "set -u and arithmetic": ("set -u\nA=$((lrx + 1))\ntorchrun 1\n", 2),
    "set -u and a part of a value": ("set -u\nA=${lrx%.*}\ntorchrun 1\n", 2),
    "a backslash in a list inside a substitution": ("if false; then\nA=$(X=(a \\\"))\nfi\ntorchrun 1\n", 2),
    "a $ at the end": ("C='a b'\ntorchrun $C$\n", 2),
    "quotes side by side with nothing beside $@": ("set --\nE=\nset -- \"${E:+x}\"$E\"$@\"\ntorchrun $#\n", 3),
    "a $ in the middle": ("C='a b'\ntorchrun ${C}$=\n", 2),
    "what a program prints in a whole number": ("declare -i N=$(nproc)*.q\ntorchrun 1\n", 1),
    "a number with what nobody sets": ("printf -v A %d k:v$U\ntorchrun $?\n", 2),
    "a value with what nobody sets": ("N=p3-b\nA=$((N + 1))\ntorchrun 1\n", 2),
    "a value in an expression with what nobody sets": ("N=p3-b\nA=$(($N + 1))\ntorchrun 1\n", 2),
    "a key that is not known": ("declare -A K\nK[$(hostname)]=1\ntorchrun 1\n", 2),
    "a backslash at the end of a pattern": ("B='\\'\nA=a$B\ntorchrun \"${A//$A/x}\"\n", 3),
    "keys as one text": ("X=(a b)\nIFS=x\nA=${!X[@]}\ntorchrun $A\n", 3),
    "elements behind a line that was dropped": ("X=(a b) N=0a\nIFS=\ncase ${X[$N]} in a) ;; esac\ntorchrun ${X[*]}\n", 4),
    "a status that is not known": ("grep a b || torchrun $?\n", 1),
    "conditions that decide together": ("A=1\ncase $(hostname) in\nb) ;;&\na*) ;;\n*) A=2\nesac\ntorchrun $A\n", 2),
    "a declaration with an empty IFS": ("set -- p q\nIFS=\ndeclare A=$*\ntorchrun $A\n", 3),
    "a program in the condition of a loop": ("set -- a\nwhile torchrun \"$@\"; do set -- b; done\n", 2),
    "a pipe that nobody reads": ("set -o pipefail\necho a | { declare A=1; }\ntorchrun $?\n", 3),
    "an element beside lines that are not known": ("mapfile -t X < missing\nX=5\ntorchrun ${X[@]}\n", 2),
    "changed elements with an empty IFS": ("X=(u 'v w')\nIFS=\ntorchrun a${X[*]#b}\n", 3),
    "changed elements one by one with an empty IFS": ("X=(u 'v w')\nIFS=\ntorchrun a${X[@]#b}\n", 3),
    "what stands beside words that may be none": ("f() { for A in 8\"$@\"; do :; done; torchrun $A; }\nf $U b\n", 1),
    "what is split in a list with keys": ("declare -A K\nC=' y '\nset -- p q\nK=([p]=\"$@\"$C)\ntorchrun \"${K[p]}\"\n", 4),
    "ERR and a status that is not known": ("trap 'torchrun err' ERR\ncat < missing\ntorchrun 1\n", 2),
    "a mistake behind a file that may not be there": ("readonly A=1\n{ A=2; } < missing; torchrun $A\ntorchrun 2\n", 2),
    "rounds of a loop over what a program prints": ("for h in $(hostname -I); do A+=$h,; done\ntorchrun $A\n", 1),
}  # fmt: skip


def started(read: Script) -> list[list[str]]:
    found = [[word.text for word in one.words] for one in read.commands]
    return [words[words.index("torchrun") :] for words in found if "torchrun" in words]


@pytest.mark.parametrize("script", READ.values(), ids=READ.keys())
def test_what_bash_reads_is_read(script: str, tmp_path: Path) -> None:
    expected = by_bash.passed(script, tmp_path, HOME)
    read = read_script(script, "train.sh", inherited=HOME)
    assert started(read) == expected
    assert expected, "the judge says nothing"
    assert not read.findings


@pytest.mark.parametrize(("script", "line", "says"), (REFUSED | ENDS).values(), ids=(REFUSED | ENDS).keys())
def test_what_bash_refuses_is_read_and_told(script: str, line: int, says: str, tmp_path: Path) -> None:
    expected = by_bash.passed(script, tmp_path, HOME)
    read = read_script(script, "train.sh", inherited=HOME)
    assert started(read) == expected
    assert expected and ["torchrun", "never"] not in expected
    told = [finding for finding in read.findings if says in finding.message]
    assert [(finding.level, str(finding.place)) for finding in told] == [("warning", f"train.sh:{line}")]


@pytest.mark.parametrize(("script", "line"), TOLD.values(), ids=TOLD.keys())
def test_what_is_not_read_is_told(script: str, line: int) -> None:
    read = read_script(script, "train.sh", inherited=HOME)
    findings = [*read.findings, *(finding for one in read.commands for finding in one.findings)]
    places = {str(finding.place) for finding in findings}
    when = " ".join(way for one in read.commands for way in one.when)
    assert f"train.sh:{line}" in places or f"(line {line})" in when


def test_nothing_is_passed_when_a_here_document_has_no_end(tmp_path: Path) -> None:
    script = "cat <<E1\na\\\nE1\ntorchrun 1\n"
    assert by_bash.passed(script, tmp_path) == []
    assert started(read_script(script, "train.sh")) == []


def test_a_word_that_is_none_is_no_operand(tmp_path: Path) -> None:
    script = '[ -n $U ] && torchrun 1\n[ $U != a ]\ntorchrun $?\n[ -z $U ] && torchrun 3\n[ -n "$U" ]\ntorchrun $?\n'
    read = read_script(script, "train.sh", inherited=HOME)
    assert started(read) == by_bash.passed(script, tmp_path, HOME)
    said = [finding.message for one in read.commands for finding in one.findings]
    assert "$U is not set by the script and read as empty" in said


def test_the_same_question_has_the_same_answer() -> None:
    script = (
        "which srun\nIN_JOB=$?\nif [[ $IN_JOB -eq 0 ]]; then A=1; else A=2; fi\n"
        "if [[ $IN_JOB -eq 0 ]]; then B=1; else B=2; fi\ntorchrun $A $B\n"
    )
    assert sorted(started(read_script(script, "train.sh"))) == [["torchrun", "1", "1"], ["torchrun", "2", "2"]]
    changed = script.replace("fi\nif", "fi\nIN_JOB=$(nproc)\nif")
    assert len(started(read_script(changed, "train.sh"))) == 4


SMALL = (
    "torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 "
    "--seq-length 64 --max-position-embeddings 64 --micro-batch-size 1 --train-iters 10 --lr 1e-3 --eval-interval 10 "
    "--mock-data --tokenizer-type NullTokenizer --vocab-size 100 --save-interval 5"
)


def test_the_home_of_whoever_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f'CK=~/run1\n{SMALL} --save $CK --load ~/base --tensorboard-dir "$HOME/tb"\n')
    assert main(["translate", str(script)]) == 0
    said = capsys.readouterr()
    for line in ('save: "${oc.env:HOME}/run1"', 'load: "${oc.env:HOME}/base"', 'tensorboard_dir: "${oc.env:HOME}/tb"'):
        assert line in said.out
    assert "folder named ~" not in said.err
    assert main(["translate", str(script), "--format", "argv"]) == 0
    argv = capsys.readouterr().out
    assert "~" not in argv and "'$HOME" not in argv
    assert '--save "$HOME/run1"' in argv


def test_a_home_that_nobody_fills_in_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f"{SMALL} --save '~/run1' --load=~/base\n")
    for words in ([str(script)], ["--", *SMALL.split(), "--save", "~/run1", "--load=~/base"]):
        assert main(["translate", *words]) == 0
        said = capsys.readouterr()
        assert "~/run1" in said.out
        assert said.err.count("is a path in a folder named ~") == 2
        assert "write $HOME/base" in said.err
