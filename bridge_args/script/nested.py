"""Commands inside commands: ``srun ... bash -c "text"``, ``bash inner.sh``, ``ssh host text``, ``sbatch <<EOF``.

The inner text is read as the script itself is; what stood in front of the inner shell stays in front of every command
found there (``srun -N 2 torchrun ...``), so that ``command.py`` sees the whole chain of launchers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from bridge_args.records import Record
from bridge_args.script import slurm
from bridge_args.script.bash.files import key_of
from bridge_args.script.bash.names import is_name
from bridge_args.script.bash.state import Frame, Leave, State, Variable
from bridge_args.script.bash.traced import Traced, joined, plain
from bridge_args.script.programs import LAUNCHERS, SAME_PROGRAM, SHELLS, WRAPPERS

if TYPE_CHECKING:
    from bridge_args.script.bash.shell import Shell

# Programs behind which the variables of this shell are not known, but for those handed over by name.
_ELSEWHERE: Final = ("docker", "podman", "nerdctl", "kubectl", "ssh", "pdsh", "clush")
_REMOTE: Final = ("ssh", "pdsh", "clush")
_REMOTE_VALUED: Final = frozenset("-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w -x -f -g".split())
Read = tuple[bool, "int | None"]
NOT_READ: Final[Read] = (False, None)
_STARTING: Final = frozenset((*WRAPPERS, *LAUNCHERS, *SAME_PROGRAM, "aprun", "enroot", "ibrun", "jsrun", "xargs"))
_SCRIPT: Final = re.compile(r"[^\s:=]+\.(?:sh|bash|slurm|sbatch)$")
_PYTHON: Final = re.compile(r"^(python|pypy)[\d.]*$")
_TEXT_FOLLOWS: Final = re.compile(r"^-(?=[a-z]*c)[a-z]+$")
# Behind these an inner shell is in the same place as the outer one, once: what it does could be done outside.
_SAME_PLACE: Final = frozenset(
    (*SHELLS, "command", "exec", "ncu", "nice", "nohup", "nsys", "numactl", "setsid", "stdbuf", "taskset", "time")
) | {"timeout"}
_TASKS: Final = frozenset(("aprun", "ibrun", "jsrun", "mpiexec", "mpirun", "orterun", "srun"))
_OF_TORCHRUN: Final = frozenset(("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK"))
_WITHOUT_PYTHON: Final = frozenset(("--no-python", "--no_python"))


class Where(Record):
    """How an inner shell gets its text, and which word says so; see ``state.Frame``."""

    kind: Literal["text", "file", "input", "remote"]
    at: int


def run(shell: Shell, state: State, words: Sequence[Traced], at: int) -> Read:
    """Read what an external command starts inside, if it can be read: whether it was, and its exit status."""
    names = [word.text.rsplit("/", 1)[-1] for word in words]
    first = next((i for i, word in enumerate(words) if "=" not in word.text or word.text.startswith("-")), 0)
    if names[first] in _REMOTE:
        return _remote(shell, state, words, first)
    if names[first] == "sbatch":
        return _sbatch(shell, state, words[first:])
    for index in range(first, len(words)):
        name = names[index]
        if _PYTHON.match(name) and not _starts_any_program(words[index + 1 :]):
            return NOT_READ
        if name in LAUNCHERS and name not in ("srun", "mpirun") and not _starts_any_program(words[index + 1 :]):
            return NOT_READ
        if name in SHELLS:
            return _shell(shell, state, words, index)
        starts = index == first or names[first] in _STARTING  # in ``cp x.sh y`` no script is started
        if starts and (_SCRIPT.match(words[index].text) or key_of(words[index]) in shell.state.files):
            text = shell.files.content(words[index])
            if text is not None:
                return _inside(shell, state, text, words, index, words[index], words[index + 1 :], Where("file", index))
            if index == first:
                name = shell.rendered(words[index])
                shell.state.shared.unread.append((name, at))
    return NOT_READ


def _shell(shell: Shell, state: State, words: Sequence[Traced], index: int) -> Read:
    """``bash [options] -c text [name words]``, ``bash file words``, ``bash < text``."""
    following = index + 1
    while following < len(words) and words[following].text[:1] in ("-", "+") and len(words[following]) > 1:
        text = words[following].text
        following += 1
        if _TEXT_FOLLOWS.match(text):
            if following >= len(words):
                return NOT_READ
            name = words[following + 1] if following + 1 < len(words) else words[index]
            where = Where("text", following)
            return _inside(shell, state, words[following], words, index, name, words[following + 2 :], where)
        if text in ("-o", "+o", "--rcfile", "--init-file"):
            following += 1
        if text in ("-s", "--"):
            break
    if following < len(words) and words[following - 1].text != "-s":
        inner = shell.files.content(words[following])
        if inner is None:
            shell.state.shared.unread.append((shell.rendered(words[following]), words[following].first))
            return NOT_READ
        where = Where("file", following)
        return _inside(shell, state, inner, words, index, words[following], words[following + 1 :], where)
    if shell.stdin.text is None:
        return NOT_READ
    where = Where("input", index)
    return _inside(shell, state, shell.stdin.text, words, index, words[index], words[following:], where)


def _remote(shell: Shell, state: State, words: Sequence[Traced], first: int) -> Read:
    """``ssh [options] host command words``: the words are joined and read by a shell over there."""
    index = first + 1
    host = words[first].text.rsplit("/", 1)[-1] != "ssh"  # pdsh names its hosts with -w
    while index < len(words):
        text = words[index].text
        if text.startswith("-"):
            index += 2 if text in _REMOTE_VALUED else 1
        elif not host:
            host = True
            index += 1
        else:
            break
    if index >= len(words) and not shell.stdin.known:
        return NOT_READ
    inner = joined(words[index:], " ") if index < len(words) else shell.stdin.text
    assert inner is not None
    where = Where("remote", index)
    return _inside(shell, state, inner, words, first, plain("bash"), (), where, prefix=words[:first])


def _sbatch(shell: Shell, state: State, words: Sequence[Traced]) -> Read:
    """``sbatch [options] script words``, ``--wrap text`` or a script on standard input."""
    options: list[Traced] = []
    index = 1
    text: Traced | None = None
    name = plain("slurm_script")
    while index < len(words):
        word = words[index]
        if word.text.startswith("--wrap"):
            text = word[len("--wrap=") :] if "=" in word.text else joined(words[index + 1 : index + 2])
            index = len(words)
        elif word.text.startswith("-"):
            options.append(word)
            following = words[index + 1].text if index + 1 < len(words) else "-"
            if slurm.takes_the_next(word.text) and not following.startswith("-") and not _SCRIPT.match(following):
                index += 1
                options.append(words[index])
        else:
            break
        index += 1
    rest: Sequence[Traced] = ()
    if text is None and index < len(words):
        name, rest = words[index], words[index + 1 :]
        text = shell.files.content(name)
        if text is None:
            shell.state.shared.unread.append((shell.rendered(name), name.first))
    elif text is None:
        text = shell.stdin.text
    if text is None or (shell.state.shared.in_job and text.text in shell.state.shared.reading):
        return NOT_READ  # a job that queues its own successor
    inner = state.subshell()
    inner.sbatch = (*slurm.words(text.text), *(shell.rendered(word) for word in options))
    made = slurm.from_options([*inner.sbatch, *state.shared.job])
    for pair in slurm.options_of(inner.sbatch).get("export", "").split(","):
        key, equals, value = pair.partition("=")
        if equals and is_name(key):
            made[key] = value
    shell.state.shared.in_job = True
    for key, value in made.items():
        inner.variables[key] = Variable(plain(value), exported=True)
    return _inside(shell, inner, text, words, 0, name, rest, None, prefix=())


def _inside(
    shell: Shell,
    state: State,
    text: Traced,
    words: Sequence[Traced],
    index: int,
    name: Traced,
    positional: Sequence[Traced],
    where: Where | None,
    prefix: Sequence[Traced] | None = None,
) -> Read:
    """Read the text of an inner shell; it knows what is exported to it.

    Args:
        where: which word the text is; None for a job of its own, which begins anew.
    """
    from bridge_args.script.bash.shell import Shell

    before = words[:index] if prefix is None else prefix
    inner = state.subshell()
    programs = {word.text.rsplit("/", 1)[-1] for word in words[:index]} | {words[0].text.rsplit("/", 1)[-1]}
    handed = _handed_over(words[:index])
    if programs & set(_ELSEWHERE):
        inner.variables = {}
    else:
        inner.variables = {
            key: Variable(variable.value, True)
            for key, variable in state.variables.items()
            if variable.exported and isinstance(variable.value, Traced)
        }
    for key, value in handed.items():
        known = state.variables.get(key)
        if value is not None:
            inner.variables[key] = Variable(value, exported=True)
        elif known is not None:
            inner.variables[key] = Variable(known.value, exported=True)
    for key, given in shell.state.shared.given.items():
        inner.variables.setdefault(key, Variable(plain(given), exported=True))
    inner.variables["BASH_SOURCE"] = Variable({0: name})
    inner.functions = {name: body for name, body in state.functions.items() if name in state.functions_out}
    inner.forked, inner.of_text = False, where is not None and where.kind in ("text", "remote")
    inner.options, inner.traps, inner.loops, inner.returns, inner.status = frozenset(), {}, 0, 0, 0
    inner.locals = []
    inner.positional = list(positional)
    inner.may_have_positional = False
    inner.name = name
    inner.export_all = False
    if is_in_container(words[:index]):
        inner.folder = Traced()
    shared = state.shared
    shared.shells += 1
    called = shell.called()
    inner.frame = None
    if where is not None:
        own = not _in_the_same_place(words[: where.at]) or (shell.state.frame is not None and shell.state.frame.own)
        inner.frame = Frame(
            shared.shells,
            text,
            where.kind,
            tuple(words),
            where.at,
            len(before),
            shell.prefix,
            called.callers,
            state.exports(),
            Traced() if is_in_container(words[:index]) else state.folder,
            shell.state.frame,
            own,
            where.kind == "file" and key_of(words[where.at]) in shell.state.files,
        )
        if programs & _TASKS and not shared.first_task:
            for told in slurm.OF_A_TASK - set(shared.given) - _OF_TORCHRUN:
                inner.variables.pop(told, None)  # whatever they are here, every task is told its own
    prefix_of_it = (*shell.prefix, *before) if where is not None else tuple(before)
    reader = Shell(inner, called.output, called.stdin, prefix_of_it, called.depth)
    outside, shared.shell = shared.shell, shared.shells
    try:
        return True, reader.process(
            lambda: reader.program(text, whole=where is None or where.kind in ("file", "input"))
        )
    except Leave:  # an endless loop
        if not shell.prefix and not before:
            raise
        return True, 0
    finally:
        shared.shell = outside


def _in_the_same_place(words: Sequence[Traced]) -> bool:
    """Is what these words start there once, with this shell's programs, files and variables?"""
    names = [SAME_PROGRAM.get(name, name) for name in (word.text.rsplit("/", 1)[-1] for word in words)]
    first = next((name for name in names if not _is_assignment(name)), "bash")
    known = {name for name in names if name in LAUNCHERS or name in WRAPPERS or name in _STARTING}
    return first in _SAME_PLACE and known <= _SAME_PLACE


def _is_assignment(text: str) -> bool:
    return is_name(text.partition("=")[0]) and "=" in text


def _starts_any_program(words: Sequence[Traced]) -> bool:
    """``torchrun --no-python bash -c text``: what stands before the program tells."""
    for word in words:
        if word.text in _WITHOUT_PYTHON:
            return True
        if word.text.endswith(".py"):
            return False
    return False


def is_in_container(words: Sequence[Traced]) -> bool:
    """srun starts the processes in a container, where the folder of this shell is not theirs."""
    return any(word.text.startswith("--container-image") for word in words)


def _handed_over(words: Sequence[Traced]) -> dict[str, Traced | None]:
    """``-e NAME=value``, ``--env NAME``, and ``NAME=value`` in front."""
    made: dict[str, Traced | None] = {}
    for index, word in enumerate(words):
        text = word
        before = words[index - 1].text if index else ""
        if word.text.startswith(("--env=", "-e=")):
            text = word[word.text.index("=") + 1 :]
        elif before not in ("-e", "--env", "-x") and (word.text.startswith("-") or index and before.startswith("-")):
            continue
        name, equals, _ = text.text.partition("=")
        if is_name(name) and (equals or before in ("-e", "--env", "-x")):
            made[name] = text[len(name) + 1 :] if equals else None
    return made
