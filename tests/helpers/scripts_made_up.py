"""Scripts made up from bash's grammar, one for each seed (``script``); the same seed is always the same script.

Real bash is asked what they pass to torchrun (``differences.py``).
"""

# ruff: noqa: E501  a rule of the grammar on one line can be compared with its neighbours

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Maker = Callable[[], str]

_PROLOGUE = """\
A=ab.a; B=; C='x y'; N=3; M=7
X=(a 'b c' d) Y=() Z=([1]=u [4]='v w')
declare -A K=([p]=1 [q]='2 3')
set -- p 'q r' s
f() { echo "$2 $1"; }
g() { torchrun g "$#" "$@"; return ${1:-0}; }
yes() { return 0; }
no() { return 3; }
export -f f g yes no
unset U a b k s u x X1 B1 C1 N1 M1 BA CA NA MA Nx Ax
A1=one AA='t u'
export A B C N M
"""
PROLOGUE_LINES = _PROLOGUE.count("\n")
_EPILOGUE = """\
torchrun end $? "$A" $B "$C" "$N" $M "${X[@]}" "${#Y[@]}" "$@" ${Z[*]} "${K[p]}"
"""
FUNCTIONS = ("f", "h", "k", "g2")  # those that may be unset
_SCALARS = ("A", "B", "C")
_NUMBERS = ("N", "M")
_ARRAYS = ("X", "Y", "Z")
_PATTERNS = (
    "a*", "*a", "?", "[ab]", "*", "a", "-", "[!a]*", "b?", "*.*", '"*"', "\\*", "1*[a-b]", "[[:alpha:]]*", "$A", '"$A"',
    "*[[:space:]]*", "[^a-c]", "??", "''", "[0-9]", "*'.'*", "x*y", "[]a]", "[a-]", ".", "\\.",
)  # fmt: skip
_TEXTS = (
    "a", "b", "ab", "x1", "--lr", "0.1", "a.b", "/d/x.json", "=", "a=b", "k:v", "1,2", "-n", "%s", "@", "+", "a-b", "e,f,g",
    "007", "12", "é", "A", "q_r", "--x=y", "10", "3", "0", "-1", "*.q", "x^y",
)  # fmt: skip
_ODD = (" ", "'", '"', "$", "\\", "*", "?", "[", "]", "{", "}", "(", ")", "<", ">", "|", "&", ";", "#", "~", "!", "`", "\t", "\n", "=", ",", ":", "%", "^", "/")  # fmt: skip
_OPTIONS = ("set -e", "set -u", "set -f", "set -o pipefail", "set +e", "set -eu", "set -euo pipefail", "set -x", "set -E", "set -a", "set +a", "set +u")  # fmt: skip


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class Script:
    """One script in the making."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.depth = 0
        self.files = 0
        self.loops = 0

    def text(self) -> str:
        statements = [self.statement() for _ in range(self.random.randint(1, 7))]
        return _PROLOGUE + "\n".join(statements) + "\n" + _EPILOGUE

    # Choices ------------------------------------------------------------------------------------------------------

    def one(self, *texts: str) -> str:
        return self.random.choice(texts)

    def number(self, last: int = 9) -> str:
        return str(self.random.randint(0, last))

    def some(self, make: Maker, least: int = 0, most: int = 3, between: str = " ") -> str:
        return between.join(make() for _ in range(self.random.randint(least, most)))

    def among(self, table: Sequence[tuple[float, Maker]]) -> str:
        weights = [weight for weight, _ in table]
        return self.random.choices([make for _, make in table], weights)[0]()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # Words --------------------------------------------------------------------------------------------------------

    def plain(self) -> str:
        return self.one(*_TEXTS)

    def name(self) -> str:
        return self.one(*_SCALARS, *_NUMBERS)

    def odd(self) -> str:
        return "".join(self.one(*_ODD, *_TEXTS) for _ in range(self.random.randint(0, 4)))

    def ansi(self) -> str:
        piece = lambda: self.one("a", "\\n", "\\t", "\\'", "\\x41", "\\101", "\\u00e9", "\\\\", '\\"', "\\303\\251", "\\cA", "\\e", "b c", "\\q", "\\0101")  # noqa: E731 # fmt: skip
        return "$'" + self.some(piece, 0, 3, "") + self.one("", "", "", "", "\\777" if self.chance(0.1) else "") + "'"

    def escaped(self) -> str:
        return "".join("'\n'" if char == "\n" else "\\" + char for char in self.odd() or "a")

    def double(self) -> str:
        text = self.odd()
        for char in '\\"$`':
            text = text.replace(char, "\\" + char)
        inside = self.some(self.expansion, 0, 2, self.one("", " ", "-"))
        return f'"{text}{inside}"'

    def word(self) -> str:
        made = self.some(self.piece, 1, 3, "")
        return "x" + made if made.startswith("~") and self.chance(0.5) else made

    def words(self, most: int = 4) -> str:
        return self.some(self.word, 0, most)

    def piece(self) -> str:
        return self.among(
            [
                (6, self.plain),
                (1.5, lambda: quoted(self.odd())),
                (1.5, self.double),
                (0.7, self.escaped),
                (0.7, self.ansi),
                (6, self.expansion),
                (4, lambda: f'"{self.expansion()}"'),
                (1.2, self.braces),
                (0.5, lambda: self.one("''", '""', "$", "~/z", "~", "a=~/b", "x:~", "~:~", "~+x", "$'a b'", '$"c d"')),
            ]
        )

    def braces(self) -> str:
        inner = lambda: self.one("a", "b", "", "$A", "1", "$N", "'x y'", "{c,d}", "{", '"$C"')  # noqa: E731
        return self.among(
            [
                (4, lambda: "{" + ",".join(inner() for _ in range(self.random.randint(2, 3))) + "}"),
                (2, lambda: f"{{{self.number()}..{self.number()}}}"),
                (
                    1,
                    lambda: self.one(
                        "{a..c}",
                        "{c..a}",
                        "{01..3}",
                        "{1..5..2}",
                        "{5..1..2}",
                        "{-1..1}",
                        "{a}",
                        "{1..}",
                        "{,x}",
                        "{a,b}{1,2}",
                        "{a,{1..2}}",
                        "{'a',b}",
                        "{1..a}",
                        "{a,b",
                        "a,b}",
                        "{}",
                        "{x,y}}",
                        "{{a,b}",
                    ),
                ),  # fmt: skip
                (1.5, lambda: f"${self.name()}{{1,A}}{self.one('.', '-', '/', '+')}"),
                (1, lambda: f"{{${self.name()},x}}{self.one('1.', 'A-', '.', '-')}"),
            ]
        )

    def expansion(self) -> str:
        if self.depth > 4:
            return f"${self.name()}"
        self.depth += 1
        try:
            return self.among(
                [
                    (6, lambda: self.one("${{{}}}", "${{{}}}", "${{{}}}", "${}").format(self.name())),
                    (7, self.parameter),
                    (5, self.of_array),
                    (3, lambda: f"$(({self.expression()}))"),
                    (2.5, self.substitution),
                    (4, self.positional),
                    (
                        0.3,
                        lambda: self.one(
                            "$?", "${#}", "${?}", "$[1+2]", "${!N}", "${!X[@]}", "$OPTIND", "${OPTARG-none}"
                        ),
                    ),
                ]
            )
        finally:
            self.depth -= 1

    def positional(self) -> str:
        return self.one(
            "$@", "$*", "$#", "$1", "$2", "${3}", "${4-none}", "${@:2}", "${@:2:1}", "${*:1:2}", "${@: -1}", "${1:+set}",
            "${10:-ten}", "${@%r}", "${*/q/z}", "${#1}", "${@:0:1}", "${@:1:$N}", "${1^^}", "$9", "${@:-none}", "${*-none}",
            "${@+some}", "$13", "${#@}",
        )  # fmt: skip

    def parameter(self) -> str:
        name = self.one(*_SCALARS, *_NUMBERS, "U") if self.chance(0.9) else self.one("X", "Z", "K", "Y")
        argument = lambda: self.among(  # noqa: E731
            [
                (4, self.plain),
                (1, lambda: ""),
                (1, lambda: f"$A {self.plain()}"),
                (1, lambda: f'"{self.plain()} {self.expansion()}"'),
                (1, lambda: f"'{self.plain()} z'"),
                (1, self.expansion),
                (0.2, lambda: self.one("~/q", "a b", '"a b"', "\\a", "a\\ b", "{a,b}")),
            ]
        )
        pattern = lambda: self.one(*_PATTERNS)  # noqa: E731
        return self.among(
            [
                (4, lambda: f"${{{name}{self.one(':-', '-', ':+', '+')}{argument()}}}"),
                (0.6, lambda: f"${{{name}{self.one(':=', '=')}{self.plain()}}}"),
                (0.1, lambda: f"${{{name}{self.one(':?', '?')}gone}}"),
                (1, lambda: f"${{#{name}}}"),
                (4, lambda: f"${{{name}{self.one('#', '##', '%', '%%')}{pattern()}}}"),
                (
                    3,
                    lambda: f"${{{name}{self.one('/', '//', '/#', '/%')}{pattern()}/{self.one('z', '', '$N', 'x y')}}}",
                ),
                (0.5, lambda: f"${{{name}{self.one('/', '//')}{pattern()}}}"),
                (1, lambda: f"${{{name}:{self.one('0', '1', '2', ' -1', ' -2', 'N', 'N-2', '9')}}}"),
                (1, lambda: f"${{{name}:{self.number(3)}:{self.one('0', '1', '2', '9', 'N')}}}"),
                (0.25, lambda: f"${{{name}:{self.number(3)}:-{self.number(2)}}}"),
                (1.5, lambda: f"${{{name}{self.one('^^', ',,', '^', ',')}}}"),
                (0.5, lambda: f"${{{name}@{self.one('Q', 'U', 'L', 'u')}}}"),
            ]
        )

    def of_array(self) -> str:
        name = self.one(*_ARRAYS)
        return self.among(
            [
                (4, lambda: f"${{{name}[{self.one('@', '*')}]}}"),
                (0.2, lambda: f"${{{self.one('A', 'N', name)}[{self.one('-1', '-3', '0')}]{self.one('', '-none', ':+set')}}}"),
                (3, lambda: f"${{{name}[{self.one('0', '1', '-1', 'N % 2', 'N-3', '4', '$N', '-2')}]}}"),
                (1, lambda: f"${{#{name}[{self.one('@', '*', '0', '1')}]}}"),
                (1, lambda: f"${{!{name}[{self.one('@', '*')}]}}"),
                (1.5, lambda: f"${{{name}[{self.one('@', '*')}]:{self.one('0', '1', '2', '4', ' -1', ' -2')}}}"),
                (1, lambda: f"${{{name}[@]:{self.number(4)}:{self.number(3)}}}"),
                (1.5, lambda: f"${{{name}[{self.one('@', '*')}]{self.one('%a', '#b', '/a/c', '^^', ':-none', '-none', '+some', '//b')}}}"),
                (1.5, lambda: f"${{{name}[{self.number(4)}]{self.one('-', ':-', '+', ':+')}{self.plain()}}}"),
                (1, lambda: f"${{K[{self.one('p', 'q', 'r', '$A', '$B', 'a b')}]{self.one('', '', '-none', ':+set', '%a')}}}"),
                (0.3, lambda: "${#K[@]}"),
            ]
        )  # fmt: skip

    def expression(self) -> str:
        if self.depth > 3:
            return self.one("1", "N", "$M")
        self.depth += 1
        try:
            inner = self.expression
            return self.among(
                [
                    (3, lambda: self.number(20)),
                    (3, lambda: self.one("N", "M", "$N", "${M}", "X[0]*0", "${#X[@]}", "Z[9]", "0x1f", "010", "2#101", "36#Zz")),
                    (3, lambda: f"{inner()} {self.one('+', '-', '*', '<<', '&', '|', '^')} {inner()}"),
                    (1, lambda: f"{inner()} {self.one('/', '%')} {self.random.randint(1, 9)}"),
                    (0.1, lambda: f"{inner()} {self.one('/', '%')} {inner()}"),
                    (1, lambda: f"({inner()} {self.one('<', '>', '<=', '>=', '==', '!=', '&&', '||')} {inner()})"),
                    (1, lambda: f"({inner()} ? {inner()} : {inner()})"),
                    (1, lambda: f"{self.one('!', '~', '- ', '+ ')}({inner()})"),
                    (1, lambda: self.one("N++", "--M", "N--", "++N", "N += 2", "M = N", "N *= 2", "(N = 5, M)", "M -= 1", "X[3] = 4", "N = M = 2")),
                    (0.3, lambda: f"{self.number(4)} ** {self.number(5)}"),
                ]
            )  # fmt: skip
        finally:
            self.depth -= 1

    def substitution(self) -> str:
        if self.depth > 2:
            return self.one("$(echo a b)", "$(echo $A)")
        self.depth += 1
        try:
            return self.among(
                [
                    (3, lambda: f"$(echo {self.words(2)})"),
                    (1, lambda: f"`echo {self.plain()}`"),
                    (1, lambda: f'$(printf "%s-%03d" {self.plain()} {self.number(50)})'),
                    (1, lambda: f"$(f {self.word()} {self.word()})"),
                    (1, lambda: f"$(echo {self.plain()} | tr a-b x-y)"),
                    (1, lambda: f"$(echo {self.one('-e', '-n', '-ne', '-E', '-en')} {quoted(self.echoed())})"),
                    (1, lambda: f"$(printf {quoted(self.one('%s', '<%s>', '%5s|', '%-4s|', '%d', '%x', '%b', '%c', '%.2s', '%s,%s;', '%05d', '%s' + chr(92) + 'n', '%+d', '%%%s', 'a' + chr(92) + 'tb'))} {self.words(3)})"),
                    (1, lambda: self.one("$(no)", "$(exit 4)", "$(yes; echo y)", "$(A=in; echo $A)", "$(return 5; echo r)", "$(break; echo b)", "$(false; echo $?)", "$(set -e; false; echo no)", "$(trap 'echo t' EXIT; echo u)", "$(basename /d/x.y .y)", "$(dirname /a/b/c)", "$(seq 3)", "$(expr 2 + 3)", "$(cat <<< 'h  i')", "$(echo a:b:c | cut -d: -f2)", "$(printf '%s\\n' c a | head -n 1)", "$(echo 'a b' | wc -w)")),
                    (1, lambda: f"$({self.statement()}\n)"),
                ]
            )  # fmt: skip
        finally:
            self.depth -= 1

    def echoed(self) -> str:
        return self.some(lambda: self.one("a", "\\n", "\\t", "\\0101", "\\101", "\\x41", "\\\\", "\\c", " b", "\\u00e9", "\\q", "\\0303\\0251", "\\e"), 1, 4, "")  # fmt: skip

    # Conditions ---------------------------------------------------------------------------------------------------

    def condition(self) -> str:
        return self.among(
            [
                (2, lambda: f'[ "$A" {self.one("=", "!=", "==")} {quoted(self.plain())} ]'),
                (2, lambda: f"[ $N {self.one('-eq', '-ne', '-lt', '-le', '-gt', '-ge')} {self.number()} ]"),
                (1, lambda: f'[ {self.one("-n", "-z")} "{self.expansion()}" ]'),
                (1, lambda: f"[ {self.one('-n', '-z', '!')} {self.expansion()} ]"),
                (2, lambda: f"[[ {self.expansion()} {self.one('==', '!=', '=')} {self.one(*_PATTERNS)} ]]"),
                (0.7, lambda: f"[[ $A =~ {self.one('^a', 'b$', '[0-9]+', 'a|b', '^(a+)(b?)', '(a|ab)(.*)', '^[[:alpha:]]+', '.a', 'b.a$')} ]]"),
                (1, lambda: f"(( {self.expression()} ))"),
                (1, lambda: f"[[ {self.expression()} {self.one('-eq', '-lt', '-ge')} {self.number()} ]]"),
                (0.5, lambda: f"test {self.word()} {self.one('=', '!=')} {self.word()}"),
                (0.7, lambda: f"[ {self.one('-n', '-z')} \"$A\" {self.one('-a', '-o')} \"$N\" = {self.number()} ]"),
                (0.5, lambda: f'[ {self.one("! -n", "! -z", "! ! -n")} "$B" ]'),
                (0.5, lambda: self.one("[[ -v A ]]", "[[ -v X[1] ]]", "[[ -v Q ]]", "[ 1 = 1 -a ! 2 = 3 ]", "[ ]", "[ '(' 1 = 1 ')' ]", "[ a b ]", "[ x ]", "test", "[[ ! ( a = a && b = c ) ]]", "[[ a < b ]]", "[ abc -eq 1 ]")),
                (2, lambda: self.one("true", "false", "yes", "no", ":", "! true", "! false", "! no", "! yes")),
                (0.7, lambda: f"{{ {self.statement()}\n}}"),
                (0.5, lambda: f"( {self.statement()}\n)"),
                (0.7, lambda: f"{self.condition()} {self.one('&&', '||')} {self.condition()}"),
                (0.3, lambda: f"let {quoted(self.expression())}"),
                (0.3, lambda: f"{self.one('A', 'N')}={self.substitution()}"),
                (0.3, lambda: self.one("yes | no", "no | yes", "echo a | read A", "read A <<< a", "g 0", "g 1")),
            ]
        )  # fmt: skip

    # Statements ---------------------------------------------------------------------------------------------------

    def statement(self) -> str:
        if self.depth > 3:
            return self.simple()
        self.depth += 1
        try:
            return self.among([(6, self.simple), (4, self.structure)])
        finally:
            self.depth -= 1

    def simple(self) -> str:
        return self.among(
            [
                (9, self.assignment),
                (3, self.declaration),
                (6, lambda: f"torchrun {self.words(5)}"),
                (1, lambda: f"{self.one('A', 'B', 'IFS')}={self.word()} {self.one('torchrun', 'g')} {self.words(2)}"),
                (1, lambda: f"g {self.words(3)}"),
                (1.5, lambda: f"(( {self.expression()} ))"),
                (0.5, lambda: f"let {quoted(self.expression())}"),
                (1, lambda: f"set -- {self.words()}"),
                (2.5, self.reading),
                (0.6, lambda: self.one(*_OPTIONS)),
                (0.5, lambda: self.one("IFS=:", "IFS=,", "IFS=", "unset IFS", "IFS=' '", "IFS=$' \\t\\n'", "IFS=x", "IFS=-,")),
                (1, lambda: f"unset {self.one('B', 'C', 'X', 'X[1]', 'Y', 'Z[4]', 'K[p]', 'A', '-f f', '-v C', 'Z', 'N')}"),
                (0.7, lambda: self.one("shift", "shift 2", "shift 9", "shift 0")),
                (0.7, lambda: self.one("true", "false", "no", "yes", "! no", ":", "exit 3", "return 4", "break", "continue", "exit", "break 2")),
                (0.4, lambda: self.one("trap 'torchrun bye $?' EXIT", "trap 'torchrun err $?' ERR", "trap - EXIT", "trap '' EXIT", "trap 'A=t' EXIT", "trap 'no' ERR", "trap 'exit 6' EXIT")),
                (1, lambda: f"printf -v {self.one('A', 'N', 'X[1]', 'B')} {self.one('%s', '%03d', '%s-%s', '%5s')} {self.words(2)}"),
                (0.7, lambda: f"eval {quoted(self.statement())}"),
                (0.7, lambda: f"bash -c {quoted(self.statement())} {self.words(2)}"),
                (0.5, lambda: f"{self.one('command', 'builtin', 'command')} {self.one('torchrun a', 'eval A=1', 'export B=2', 'echo', 'false', 'f 1 2', 'g 1', 'shift', 'true', 'declare A=5')}"),
                (0.3, lambda: f"time torchrun {self.words(2)}"),
                (0.3, lambda: f"! torchrun {self.words(2)}"),
                (0.2, lambda: f"exec torchrun {self.words(2)}"),
                (0.5, self.heredoc),
                (0.3, lambda: f"torchrun {self.words(1)} & wait"),
                (0.4, lambda: f"f() {{ {self.statement()}\n}}"),
                (0.2, lambda: f"{self.one('f', 'g', 'set --', 'command g')} {self.words(1)} {self.one('$V', '$V', '$A0', '$V$W')} {self.words(2)}"),
                (0.2, lambda: f"{self.one('torchrun i', 'read A', 'cat', 'g 0', '{ A=in; }', 'mapfile X', ':')} < {self.one('.none', '.h', '/dev/null')}"),
                (0.3, lambda: f"export -f g; bash -c 'g {self.number()} a'"),
                (0.2, self.seldom),
                (0.5, lambda: f"echo {self.words(2)} > .f{self.files}; torchrun $(cat .f{self.files})"),
                (0.3, lambda: f"{self.one('A', 'B')}=$(cat <<{self.one('E', chr(39) + 'E' + chr(39))}\n{self.line()}\nE\n)"),
            ]
        )  # fmt: skip

    def seldom(self) -> str:
        """What is told rather than read."""
        return self.one(
            "shopt -s extglob\ntorchrun ${A##+(a)}", "shopt -s nocasematch", "set -o posix", "torchrun <(echo a)",
            "shopt -s nullglob", "alias torchrun=echo", "trap 'A=d' DEBUG", "shopt -s lastpipe\necho q | read A",
            "shopt -s expand_aliases", "declare -p A > /dev/null", "torchrun ${!A@}", "torchrun $RANDOM", "torchrun ~root",
            "enable -n echo", "torchrun ${K[@]@A}", "read -t 0 A", "mapfile -C f Y <<< a", "RANDOM=5; torchrun $RANDOM",
            "local A=1", "SECONDS=0", "readonly -f f", "coproc torchrun a", "select A in 1 2; do torchrun $A; done < /dev/null",
            "hash -r", "type torchrun > /dev/null", "UID=3; torchrun u", "declare -n A=A", "torchrun ${A@P}",
        )  # fmt: skip

    def assignment(self) -> str:
        array = self.one(*_ARRAYS)
        element = lambda: self.among([(4, self.word), (1, lambda: f"[{self.number(5)}]={self.word()}"), (0.5, lambda: f"[{self.number(3)}]+={self.word()}"), (0.1, lambda: f"[{self.number(3)}]{self.one('=', '+=')}{self.braces()}")])  # noqa: E731 # fmt: skip
        return self.among(
            [
                (6, lambda: f"{self.one(*_SCALARS)}={self.word()}"),
                (2, lambda: f"{self.one(*_SCALARS)}+={self.word()}"),
                (2, lambda: f"{self.one(*_NUMBERS)}={self.number(20)}"),
                (2, lambda: f"{self.one(*_NUMBERS)}=$(({self.expression()}))"),
                (1, lambda: f"{self.name()}={self.word()} {self.name()}={self.word()}"),
                (1, lambda: f"{self.one('A', 'B')}={self.one('$?', '$(no)', '$(exit 2)', '$(yes)', '${X[*]}', '$*', '$@', '${X[@]}', '$(no)$?')}"),
                (3, lambda: f"{array}=({self.some(element, 0, 4)})"),
                (2, lambda: f"{array}+=({self.some(element, 0, 3)})"),
                (2, lambda: f"{array}[{self.one('0', '1', '3', 'N', '-1', '$N-1', '7')}]{self.one('=', '+=')}{self.word()}"),
                (0.5, lambda: f"{array}{self.one('=', '+=')}{self.word()}"),
                (1, lambda: f"K[{self.one('p', 'q', 'new', '$A', 'a b')}]{self.one('=', '+=')}{self.word()}"),
                (0.3, lambda: f"K{self.one('=', '+=')}([p]={self.word()} [z]={self.word()})"),
            ]
        )  # fmt: skip

    def declaration(self) -> str:
        kind = self.one(
            "export",
            "declare",
            "typeset",
            "readonly",
            "export",
            "declare",
            "declare",
            "local" if self.chance(0.3) else "export",
        )
        if kind == "readonly" and self.chance(0.6):
            kind = "declare"
        option = "" if kind in ("export", "readonly", "local") else self.one("", "", "-i", "-u", "-l", "-x", "-a", "-g", "-r" if self.chance(0.3) else "", "-c", "+x", "+i")  # fmt: skip
        value = lambda: f"{self.name()}{self.one('=', '=', '=', '+=')}{self.word()}"  # noqa: E731
        return self.among(
            [
                (4, lambda: f"{kind} {option} {self.some(value, 1, 3)}"),
                (1, lambda: f"{kind} {option} {self.name()}"),
                (1, lambda: f"{kind} {'' if option == '-i' else option} {self.one(*_ARRAYS)}=({self.words(3)})"),
                (0.5, lambda: f"{kind} {option} {self.one('$A=1', 'B=$A$C', quoted('C=a b'), '$(echo A=5)')}"),
                (0.5, lambda: f"declare -n R={self.one('A', 'X', 'N')}; {self.one('R=5', 'R+=x', 'torchrun $R ${!R} ${#R}', 'R=$R$R', 'R[1]=z')}; unset -n R"),
            ]
        )  # fmt: skip

    def line(self) -> str:
        return self.some(lambda: self.one(*_TEXTS, " ", "  ", "\\", "\\\\", "a\\ b", ":", ",", "\\n", "x y", "$A", "\\$A", "$((N+1))", "`echo h`", "'q'", '"r"'), 0, 5, self.one("", " ", ":"))  # fmt: skip

    def heredoc(self) -> str:
        quotes = self.one("E", "'E'", '"E"', "E", "E")
        dash = self.one("", "", "-")
        body = "\n".join(
            ("\t" if dash and self.chance(0.5) else "") + self.line() for _ in range(self.random.randint(0, 3))
        )
        body += self.one("", "", "", "\\") if body else ""
        use = self.one(
            "read -r A B", "read A", "mapfile -t X", "cat > .h; torchrun \"$(cat .h)\"", "while read -r A; do torchrun l \"$A\"; done",
            "bash", "read -d '' A", "while IFS=: read A B; do torchrun \"$A\" \"$B\"; done",
        )  # fmt: skip
        if ";" in use and use.startswith("cat"):
            return f'cat > .h <<{dash}{quotes}\n{body}\nE\ntorchrun "$(cat .h)"'
        if use.startswith("bash"):
            body = f"torchrun {self.words(2)}"
        return f"{use} <<{dash}{quotes}\n{body}\nE"

    def reading(self) -> str:
        text = lambda: self.one('"$C"', '"$A"', "'a b c'", "' x  y '", "a:b:c", "'a\\b c'", "'1,2,,3'", "':a::b:'", "'a\\'", "$'l 1\\nl 2'", "''", '"$*"', "'k=v w'", "'a\\ b c'")  # noqa: E731 # fmt: skip
        ifs = self.one("", "", "", "IFS=: ", "IFS=, ", "IFS= ", "IFS== ", "IFS=': ' ")
        return self.among(
            [
                (3, lambda: f"{ifs}read {self.one('-r', '')} {self.one('A', 'A B', 'A B C', '', '-a X', 'N')} <<< {text()}"),
                (0.7, lambda: f"read {self.one('-n 2', '-N 3', '-d :', '-d ,', '-rd b', '-n2')} {self.one('A', 'A B')} <<< {text()}"),
                (1, lambda: f"mapfile {self.one('-t', '', '-t -n 1', '-t -s 1', '-t -O 2', '-td:')} {self.one('X', 'Y')} <<< {text()}"),
                (0.7, lambda: f"{self.one('mapfile -t Y', 'read -r A B', 'read A')} < <(echo {self.words(2)})"),
                (1, lambda: f"echo {text()} | {self.one('read A', '{ read A; torchrun p $A; }', 'while read A B; do torchrun w $A-$B; done', 'g 0 a', 'cat')}"),
                (1, lambda: f"printf '%s\\n' {self.words(3)} | while {ifs}read {self.one('-r ', '')}A B; do torchrun \"$A\" \"$B\"; N=9; done"),
                (1, self.getopts),
            ]
        )  # fmt: skip

    def getopts(self) -> str:
        letters = self.one("ab:c", ":ab:", "b:", ":b:x")
        words = self.some(lambda: self.one("-a", "-b", "-b v", "-bv", "-ab", "-c", "-ca", "--", "x", "-", "-x", "--lr", "-ac", "''"), 0, 4)  # fmt: skip
        body = 'torchrun o "$o" "${OPTARG-none}" $OPTIND'
        if self.chance(0.5):
            return f"OPTIND=1\nwhile getopts {letters} o {words}; do {body}; done"
        return f"h() {{ local OPTIND=1 o; while getopts {letters} o; do {body}; done; shift $((OPTIND - 1)); torchrun rest \"$@\"; }}\nh {words}"  # fmt: skip

    def structure(self) -> str:
        inner = self.statement
        return self.among(
            [
                (4, lambda: f"if {self.condition()}; then\n{inner()}\nelse\n{inner()}\nfi"),
                (1, lambda: f"if {self.condition()}; then\n{inner()}\nelif {self.condition()}; then\n{inner()}\nfi"),
                (2, lambda: f"{self.condition()} {self.one('&&', '||')} {{ {inner()}\n}}"),
                (1, lambda: f"{self.condition()} && {{ {inner()}\n}} || {{ {inner()}\n}}"),
                (2, self.case),
                (2, lambda: f"for {self.one('A', 'B', 'N', 'i')} in {self.words()}; do\n{inner()}\n{self.leaving()}done"),
                (0.7, lambda: f"for i; do\n{inner()}\n{self.leaving()}done"),
                (1, self.counting),
                (1, self.repeating),
                (1, lambda: f"( {inner()}\n)"),
                (1, lambda: f"{{ {inner()}\n}}"),
                (2, self.function),
                (1, lambda: f"{inner()}\n{inner()}"),
                (0.7, lambda: f"{self.simple_line()}; {self.simple_line()}"),
                (0.5, lambda: f"{{ echo {self.words(2)}\n{self.assignment()}\n}} | {{ {inner()}\n}}"),
                (0.5, lambda: f"A=$({inner()}\n)"),
                (0.3, lambda: f"{{ {inner()}\n}} > .o; torchrun \"$(cat .o)\""),
                (0.4, self.sourced),
            ]
        )  # fmt: skip

    def simple_line(self) -> str:
        made = self.simple()
        return made if "\n" not in made and "&" not in made else "torchrun same line"

    def leaving(self) -> str:
        if self.chance(0.7):
            return ""
        return f"{self.condition()} && {self.one('break', 'continue', 'break 2', 'continue 2', 'break 9')}\n"

    def case(self) -> str:
        ends = lambda: self.one(";;", ";;", ";;", ";&", ";;&")  # noqa: E731
        pattern = lambda: self.one(*_PATTERNS)  # noqa: E731
        first, second = self.statement(), self.statement()
        return (
            f"case {self.expansion()} in\n{pattern()}) {first} {ends() if not self.block(first) else chr(10) + ends()}\n"
            f"{pattern()}|{pattern()})\n{second}\n{ends()}\n*) {self.one('A', 'N')}={self.word()}\nesac"
        )

    @staticmethod
    def block(text: str) -> bool:
        return "\n" in text or text.endswith("&")

    def counting(self) -> str:
        self.loops += 1
        name = f"n{self.loops}"
        return f"for (({name} = 0; {name} < {self.number(3)}; {name}++)); do\n{self.statement()}\n{self.leaving()}done"

    def repeating(self) -> str:
        self.loops += 1
        name = f"w{self.loops}"
        test = self.one(f"while [ ${name} -lt {self.number(3)} ]", f"until (( {name} >= {self.number(3)} ))", f"while (({name} < 2)) && {self.condition()}")  # fmt: skip
        return f"{name}=0\n{test}; do\n(({name}++))\n{self.statement()}\n{self.leaving()}done"

    def function(self) -> str:
        name = self.one(*FUNCTIONS[1:])
        locals_ = self.among(
            [
                (3, lambda: ""),
                (2, lambda: f"local {self.name()}={self.word()} {self.name()}={self.word()}\n"),
                (1, lambda: f"local {self.name()}\n"),
                (0.5, lambda: f"local -n R={self.one('X', 'A', 'Z')}\nR{self.one('=v', '+=w', '[1]=z')}\n"),
                (0.5, lambda: f"local -{self.one('i', 'u', 'l', 'a', 'r')} {self.name()}={self.word()}\n"),
            ]
        )
        leaving = self.one("", "", "", "return 2\n", "return\n", f"return {self.number(300)}\n", "no\n", f"unset -f {name}\n", f"unset {self.name()}\n")  # fmt: skip
        call = self.one(f"{name} {self.words()}", f"{name} {self.words()} || A=failed", f"{name} a; torchrun $?", f"if {name}; then torchrun ok; fi", f"A=$({name} b)", f"{name} a && torchrun and", f"! {name} q")  # fmt: skip
        opening, closing = ("{", "}") if self.chance(0.85) else ("(", ")")
        return f"{self.one(name + '()', 'function ' + name)} {opening} {locals_}{self.statement()}\n{leaving}{closing}\n{call}"

    def sourced(self) -> str:
        self.files += 1
        name = f".s{self.files}"
        return f"cat > {name} <<'EOS'\n{self.statement()}\n{self.one('', 'return 3', 'A=from')}\nEOS\n{self.one('.', 'source')} ./{name} {self.words(1)}{self.one('', '', '', ' $V', ' $V b')}"


def script(seed: int) -> str:
    return Script(seed).text()
