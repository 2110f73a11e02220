"""A launch script as data: text -> the simple commands it holds, with variables filled in. Nothing is executed.

What is read: comments, line continuations, quotes, ``NAME=value``, ``export``, arrays and ``+=``, ``$NAME``,
``${NAME}``, ``${NAME:-default}``, ``"${ARRAY[@]}"``, ``$((arithmetic))`` on numbers. What is not read (control
structures, command substitution, here-documents, functions) becomes a finding that names the construct and its
line; it is never guessed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bridge_args.findings import Finding
from bridge_args.words import Place, Word

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_SEPARATORS: Final = (";;", "&&", "||", ";", "&", "|", "\n")
_STRUCTURES: Final = frozenset(
    ("if", "for", "while", "until", "case", "select", "function", "{", "source", ".", "eval", "read", "getopts")
)
_DECLARING: Final = frozenset(("export", "declare", "local", "readonly"))
_ARITHMETIC: Final = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: lambda a, b: int(a / b), ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """What a script says.

    Attributes:
        commands: every simple command, as words with their places, in order.
        exports: variables exported before the last command.
        findings: what could not be read, and variables the script does not set.
    """

    commands: tuple[tuple[Word, ...], ...]
    exports: Mapping[str, str]
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _State:
    source: str
    text: str
    position: int = 0
    variables: dict[str, str | list[str]] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unset: set[str] = field(default_factory=set)

    def place(self, position: int) -> Place:
        line = self.text.count("\n", 0, position) + 1
        return Place(self.source, line, position - (self.text.rfind("\n", 0, position) + 1) + 1)

    def cannot(self, what: str, position: int) -> None:
        remedy = "paste the command that it makes after --"
        self.findings.append(Finding("unreadable-source", f"{what} is not read", remedy, place=self.place(position)))


def read_script(text: str, source: str, variables: Mapping[str, str] | None = None) -> Script:
    """Reads a launch script.

    Args:
        text: the script.
        source: its name, for places.
        variables: values for variables the script uses but does not set.
    """
    state = _State(source, text.replace("\r\n", "\n"), variables=dict(variables or {}))
    commands: list[tuple[Word, ...]] = []
    while state.position < len(state.text):
        words = _command(state)
        if words:
            commands.append(tuple(words))
    return Script(tuple(commands), dict(state.exports), tuple(state.findings))


def _command(state: _State) -> list[Word]:
    """One simple command; assignments and exports are carried out on the state and give no words."""
    words: list[Word] = []
    while True:
        _blanks(state)
        if state.position >= len(state.text):
            break
        separator = next((s for s in _SEPARATORS if state.text.startswith(s, state.position)), None)
        if separator:
            state.position += len(separator)
            break
        start = state.position
        if state.text[start] in "<>" or re.match(r"\d*[<>]", state.text[start : start + 4]):
            _redirection(state)
            continue
        if state.text[start] in "()":
            state.cannot("a subshell or function", start)
            state.position += 1
            continue
        exporting = bool(words) and words[0].text in _DECLARING
        if not words or exporting:
            if _assignment(state, exporting):
                continue
        for text in _word(state):
            words.append(Word(text, state.place(start)))
        if len(words) == 1 and words[0].text in _STRUCTURES:
            state.cannot(f"the construct `{words[0].text}`", start)
    if words and words[0].text in _DECLARING:
        for word in words[1:]:
            value = state.variables.get(word.text)
            if words[0].text == "export" and isinstance(value, str):
                state.exports[word.text] = value
        return []
    return words


def _blanks(state: _State) -> None:
    text = state.text
    while state.position < len(text):
        if text[state.position] in " \t":
            state.position += 1
        elif text.startswith("\\\n", state.position):
            state.position += 2
        elif text[state.position] == "#":
            end = text.find("\n", state.position)
            state.position = len(text) if end < 0 else end
        else:
            return


def _redirection(state: _State) -> None:
    match = re.compile(r"\d*(?:<<<|<<-?|>>|>&|<&|>\||&>|<>|>|<)\s*").match(state.text, state.position)
    assert match
    if match.group().strip().lstrip("0123456789").startswith("<<") and "<<<" not in match.group():
        state.cannot("a here-document", state.position)
    state.position = match.end()
    _word(state)


def _assignment(state: _State, exporting: bool) -> bool:
    match = _ASSIGNMENT.match(state.text, state.position)
    if not match:
        return False
    name, more = match.group(1), bool(match.group(2))
    state.position = match.end()
    value: str | list[str]
    if state.text.startswith("(", state.position):
        state.position += 1
        value = _array(state)
        before = state.variables.get(name, [])
        if more:
            value = [*([before] if isinstance(before, str) else before), *value]
    else:
        value = " ".join(_word(state, assigning=True)) if not _at_end(state) else ""
        if more:
            before = state.variables.get(name, "")
            value = (before if isinstance(before, str) else "") + value
    state.variables[name] = value
    if (exporting or name in state.exports) and isinstance(value, str):
        state.exports[name] = value
    return True


def _at_end(state: _State) -> bool:
    return state.position >= len(state.text) or state.text[state.position] in " \t\n;&|"


def _array(state: _State) -> list[str]:
    items: list[str] = []
    while state.position < len(state.text):
        _blanks(state)
        if state.text.startswith("\n", state.position):
            state.position += 1
        elif state.text.startswith(")", state.position):
            state.position += 1
            return items
        elif state.position < len(state.text):
            before = state.position
            items += _word(state)
            if state.position == before:
                state.cannot(f"`{state.text[before]}` in an array", before)
                state.position += 1
    state.cannot("an array without its closing parenthesis", len(state.text) - 1)
    return items


def _word(state: _State, assigning: bool = False) -> list[str]:
    """One word of the script as the words bash makes of it: none for an empty expansion, many for an array."""
    done: list[str] = []
    current = ""
    quoted = False  # "" is a word, an unset $NAME is none
    text = state.text
    while state.position < len(text):
        char = text[state.position]
        if char in " \t\n;&|()<>":
            break
        if char == "\\":
            if text.startswith("\\\n", state.position):
                state.position += 2
                continue
            current += text[state.position + 1 : state.position + 2]
            state.position += 2
            quoted = True
        elif char == "'":
            end = text.find("'", state.position + 1)
            if end < 0:
                state.cannot("a quote that is not closed", state.position)
                end = len(text)
            current += text[state.position + 1 : end]
            state.position = end + 1
            quoted = True
        elif char == '"':
            first, *rest = _double_quoted(state)
            current += first
            for piece in rest:
                done.append(current)
                current = piece
            quoted = True
            if current == "" and not rest and first == "" and state.text[state.position - 2] == "}":
                quoted = False  # "${EMPTY[@]}" is no word
        elif char in "$`":
            pieces = _expansion(state)
            split = pieces if assigning else [part for piece in pieces for part in piece.split()]
            if not assigning and pieces and pieces[0][:1].isspace() and current:
                done.append(current)
                current = ""
            for index, piece in enumerate(split):
                if index:
                    done.append(current)
                    current = ""
                current += piece
        else:
            current += char
            state.position += 1
    if current or quoted:
        done.append(current)
    return done


def _double_quoted(state: _State) -> list[str]:
    start = state.position
    state.position += 1
    pieces = [""]
    text = state.text
    while state.position < len(text):
        char = text[state.position]
        if char == '"':
            state.position += 1
            return pieces
        if char == "\\" and text[state.position + 1 : state.position + 2] in ('"', "\\", "$", "`", "\n"):
            if text[state.position + 1] != "\n":
                pieces[-1] += text[state.position + 1]
            state.position += 2
        elif char in "$`":
            first, *rest = _expansion(state) or [""]
            pieces[-1] += first
            pieces += rest
        else:
            pieces[-1] += char
            state.position += 1
    state.cannot("a quote that is not closed", start)
    return pieces


def _expansion(state: _State) -> list[str]:
    """``$NAME`` and its relatives: the words they stand for; what is not known stays as it is written."""
    text, start = state.text, state.position
    if text.startswith("$((", start):
        end = _closing(text, start + 3, ")")
        if end > 0 and text.startswith("))", end):
            state.position = end + 2
            result = _arithmetic(text[start + 3 : end], state)
            if result is not None:
                return [result]
            state.cannot(f"the arithmetic {text[start : end + 2]}", start)
            return [text[start : end + 2]]
    if text.startswith("$(", start) or text[start] == "`":
        end = _closing(text, start + 2, ")") if text[start] == "$" else text.find("`", start + 1)
        end = len(text) - 1 if end < 0 else end
        state.position = end + 1
        state.cannot(f"the command substitution {text[start : end + 1]}", start)
        return [text[start : end + 1]]
    if text.startswith("${", start):
        end = _closing(text, start + 2, "}")
        if end < 0:
            state.cannot("`${` without its closing brace", start)
            state.position = len(text)
            return [text[start:]]
        state.position = end + 1
        return _braced(text[start + 2 : end], state, start)
    match = _NAME.match(text, start + 1)
    if match:
        state.position = match.end()
        return _value(match.group(), text[start : match.end()], state, start)
    if start + 1 < len(text) and text[start + 1] in "@*#?$!0123456789-":
        state.position = start + 2
        if text[start + 1] in "@*":
            return []
        return _value(text[start + 1], text[start : start + 2], state, start)
    state.position = start + 1
    return ["$"]


def _closing(text: str, position: int, closer: str) -> int:
    opener = {")": "(", "}": "{"}[closer]
    depth = 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == opener:
            depth += 1
        elif text[position] == closer:
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1


def _braced(inside: str, state: _State, start: int) -> list[str]:
    match = _NAME.match(inside) or re.match(r"\d+", inside)
    whole = "${" + inside + "}"
    if not match:
        state.cannot(f"the expansion {whole}", start)
        return [whole]
    name, rest = match.group(), inside[match.end() :]
    if rest == "":
        return _value(name, whole, state, start)
    if rest in ("[@]", "[*]"):
        value = state.variables.get(name)
        if value is None:
            return _value(name, whole, state, start)
        return [value] if isinstance(value, str) else list(value)
    if rest[:2] in (":-", ":=") or rest[:1] in "-=":
        default = rest[2:] if rest[0] == ":" else rest[1:]
        value = state.variables.get(name)
        if value is None or (rest[0] == ":" and value == ""):
            inner = _State(state.source, default, variables=state.variables)
            inner.findings = state.findings
            words: list[str] = []
            while inner.position < len(default):
                words += _word(inner, assigning=True)
                if inner.position < len(default):
                    words.append(default[inner.position])
                    inner.position += 1
            text = "".join(words)
            if rest[:2] == ":=":
                state.variables[name] = text
            return [text]
        return [value] if isinstance(value, str) else list(value[:1])
    if rest[:2] == ":?" or rest[:1] == "?":
        return _value(name, whole, state, start)
    state.cannot(f"the expansion {whole}", start)
    return [whole]


def _value(name: str, written: str, state: _State, start: int) -> list[str]:
    value = state.variables.get(name)
    if value is None:
        if name not in state.unset:
            state.unset.add(name)
            message = f"${name} is used but the script does not set it; it is kept as it is written"
            remedy = f"give it with --set {name}=VALUE"
            state.findings.append(Finding("unresolved-variable", message, remedy, place=state.place(start)))
        return [written]
    return [value] if isinstance(value, str) else list(value[:1])


def _arithmetic(text: str, state: _State) -> str | None:
    filled = _NAME.sub(lambda m: str(state.variables.get(m.group(), m.group())), text.replace("$", ""))
    filled = filled.replace("{", "").replace("}", "").strip()
    if len(filled) > 200:
        return None
    try:
        return str(_compute(ast.parse(filled, mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _compute(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_compute(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return int(_ARITHMETIC[type(node.op)](_compute(node.left), _compute(node.right)))
    raise ValueError("not arithmetic on numbers")
