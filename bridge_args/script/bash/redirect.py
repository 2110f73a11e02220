"""Where commands read from and print to: ``<``, ``<<``, ``>`` and their kind. Nothing is ever written.

Facts: bash(1), REDIRECTION.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bridge_args.script.bash import syntax as s
from bridge_args.script.bash.budget import Budget
from bridge_args.script.bash.state import Leave
from bridge_args.script.bash.traced import Traced, joined, plain

if TYPE_CHECKING:
    from bridge_args.script.bash.shell import Shell

_ALWAYS_THERE: Final = ("/dev/", "/proc/", "/sys/")


class Input:
    """Standard input: text that is read line by line, or None when it is not known.

    Attributes:
        whole: all of it.
        position: how many characters have been read.
    """

    def __init__(self, text: Traced | None) -> None:
        self.whole = text
        self.position = 0

    @property
    def text(self) -> Traced | None:
        """What is left."""
        return self.whole[self.position :] if self.whole is not None and self.position else self.whole

    @text.setter
    def text(self, text: Traced | None) -> None:
        self.whole, self.position = text, 0

    @property
    def known(self) -> bool:
        return self.whole is not None

    @property
    def ended(self) -> bool:
        return self.whole is not None and self.position >= len(self.whole)

    def line(self, ends: str = "\n") -> Traced | None:
        """Up to the next ``ends``, and that too; None at the end."""
        assert self.whole is not None
        if self.ended:
            return None
        start = self.position
        self.position = self.whole.text.find(ends, start) + 1 or len(self.whole)
        return self.whole[start : self.position]


class NotStarted(Exception):
    """A redirection ends the process of a program before it starts."""


@contextmanager
def redirected(shell: Shell, redirects: Sequence[s.Redirect], of_program: bool = False) -> Iterator[list[Traced]]:
    """Input and output as the redirections say; files are only remembered, never written.

    Gives the files for input that may not be there: then bash does not run the command, whose status is 1.

    Raises:
        NotStarted: a mistake in one ``of_program`` or a subshell, whose own process expands it, ends only that.
    """
    missing: list[Traced] = []
    if not redirects:
        yield missing
        return
    before = (shell.stdin, shell.output)
    targets: list[tuple[Traced, bool]] = []
    forked, shell.expand.of_program = shell.state.forked, of_program
    shell.state.forked |= of_program
    try:
        for redirect in redirects:
            _redirect(shell, redirect, targets, missing)
    except Leave as leave:
        shell.stdin, shell.output = before
        if of_program and leave.what in ("line", "all", "exit"):
            raise NotStarted from leave
        raise
    finally:
        shell.state.forked, shell.expand.of_program = forked, False
    output = shell.output
    try:
        yield missing
    finally:
        shell.stdin, shell.output = before
        for target, append in targets:
            assert output is not None
            shell.files.store(target, printed(output, shell.state.shared.budget), append)


def perhaps_not_run(shell: Shell, missing: Sequence[Traced], what: str) -> None:
    for name in missing:
        written = shell.rendered(name)
        message = f"{written} is not beside the script: if it is nowhere else, bash does not run {what}"
        shell.state.shared.say("not-read", message, name.first)


def _redirect(shell: Shell, redirect: s.Redirect, targets: list[tuple[Traced, bool]], missing: list[Traced]) -> None:
    op, fd = redirect.op, redirect.fd
    only = redirect.target.parts[0] if len(redirect.target.parts) == 1 else None
    if op == "<" and fd in ("", "0") and isinstance(only, s.Process) and only.written.startswith("<"):
        shell.stdin = Input(_of_process(shell, only))
        return
    if op in ("<<", "<<-") and fd in ("", "0"):
        shell.stdin = Input(shell.expand.text(redirect.body) if redirect.body else Traced())
        return
    target = shell.expand.text(redirect.target)
    if op == "<<<" and fd in ("", "0"):
        shell.stdin = Input(target + plain("\n", target.first))
    elif op == "<":
        content = shell.files.content(target)
        if content is None and not target.text.startswith(_ALWAYS_THERE) and not shell.files.is_written(target):
            missing.append(target)
        if fd in ("", "0"):
            shell.stdin = Input(content)
    elif op in (">", ">>", ">|", "&>", "&>>") and fd in ("", "1"):
        if target.text == "/dev/stdout":
            return
        shell.output = []
        if not target.text.startswith("/dev/"):
            targets.append((target, op.endswith(">>")))
        else:
            targets.clear()
    elif op == ">&" and fd in ("", "1") and target.text != "1":
        shell.output = []  # to standard error, or closed


def _of_process(shell: Shell, part: s.Process) -> Traced | None:
    """What the commands of ``< <(commands)`` print; None when that is not known."""
    output: list[Traced | None] = []
    inner = shell.inner(shell.state.subshell(), output)
    inner.state.loops = 0
    inner.process(lambda: inner.sequence(part.body))
    return printed(output, shell.state.shared.budget)


def printed(output: Sequence[Traced | None], budget: Budget) -> Traced | None:
    """What was written, as one text; None when a part of it is not known."""
    known = [text for text in output if text is not None]
    if len(known) < len(output):
        return None
    budget.work(sum(map(len, known)))
    return joined(known)
