"""Questions to a checkout: its catalog, and what it makes of command lines. ``child.py`` answers them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bridge_args.files import write_whole

CHILD: Final = Path(__file__).with_name("child.py")
START_SECONDS: Final = 300.0  # importing torch and Megatron-LM from a cold disk
CASE_SECONDS: Final = 60.0


class CheckoutError(ValueError):
    """The folder is no checkout, or its program cannot be asked; the message says which and why."""


class Case(NamedTuple):
    """One command line.

    Attributes:
        env: the variables of the run that are known.
        capability: CUDA compute capability of the run's GPUs.
    """

    argv: tuple[str, ...]
    world_size: int
    env: Mapping[str, str] = MappingProxyType({})
    capability: tuple[int, int] = (9, 0)


def catalog_of(checkout: str | Path, program: str = "pretrain_gpt.py", cache: Path | None = None) -> dict[str, Any]:
    """What the checkout's parser has, as a catalog file says it, without version.

    Args:
        cache: a folder where the answer is kept until a source file of the checkout changes; None: nothing is kept.

    Raises:
        CheckoutError: when the checkout has no such program, or its parser cannot be reached.
    """
    path = _program(checkout, program)
    kept = cache / f"{_state(path)}.json" if cache is not None else None
    if kept is not None:
        try:
            found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            pass
    (answer,) = _answers(path, {"catalog": True, "cases": [], "timeout": CASE_SECONDS}, 1)
    _checked(answer, path)
    if kept is not None:
        _keep(answer, kept)
    return answer


def effective(
    checkout: str | Path,
    cases: Iterable[Case],
    program: str = "pretrain_gpt.py",
    *,
    catalog: bool = False,
    timeout: float = CASE_SECONDS,
) -> list[dict[str, Any]]:
    """What the checkout makes of each command line; the checkout is imported once for all of them.

    An answer holds ``parsed``, the arguments as typed and with defaults, and ``args``, those behind ``validate_args``.
    Where the checkout refuses the command line it holds ``stage`` and ``error`` (``type``, ``message``, ``where``).
    With ``catalog`` the first answer is the catalog.

    Args:
        timeout: seconds for one command line.

    Raises:
        CheckoutError: when the checkout has no such program, or cannot be imported.
    """
    path = _program(checkout, program)
    asked = [{**case._asdict(), "env": dict(case.env)} for case in cases]
    request = {"catalog": catalog, "cases": asked, "timeout": timeout}
    answers = _answers(path, request, len(asked) + catalog)
    if catalog:
        _checked(answers[0], path)
    for answer in answers:
        if answer.get("stage") == "import":
            _checked(answer, path)
    return answers


def _program(checkout: str | Path, program: str) -> Path:
    path = Path(checkout).resolve() / program
    if not path.is_file():
        raise CheckoutError(f"{checkout} holds no {program}; name the root of a Megatron-LM checkout")
    return path


def _answers(program: Path, request: Mapping[str, Any], expected: int) -> list[dict[str, Any]]:
    seconds = START_SECONDS + request["timeout"] * expected
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as folder:
        question, answers = Path(folder) / "question.json", Path(folder) / "answers.jsonl"
        question.write_text(json.dumps(request), encoding="utf-8")
        package = str(Path(__file__).resolve().parents[2])
        command = [sys.executable, "-W", "ignore", str(CHILD), package, str(program), str(question), str(answers)]
        with open(Path(folder) / "log", "wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise CheckoutError(f"{program} gave no answer in {seconds:.0f} seconds") from None
            finally:
                _end(process)
        lines = answers.read_text(encoding="utf-8").splitlines() if answers.is_file() else []
        if process.returncode != 0 or len(lines) != expected:
            last = (Path(folder) / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise CheckoutError(f"{program} cannot be asked: {last[0] if last else f'status {process.returncode}'}")
    return [json.loads(line) for line in lines]


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever the checkout started from it."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()


def _checked(answer: Mapping[str, Any], program: Path) -> None:
    if "error" not in answer:
        return
    error = answer["error"]
    where = error.get("where")
    place = f" ({where[0]}:{where[1]})" if where else ""
    raise CheckoutError(f"{program} cannot be asked: {error['type']}: {error['message']}{place}")


# Keeping catalogs ---------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where catalogs of checkouts are kept: ``$XDG_CACHE_HOME/bridge_args``, else ``~/.cache/bridge_args``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bridge_args"


def _state(program: Path) -> str:
    """A name that changes when a source file of the checkout does, or the interpreter, or we."""
    said = hashlib.sha256(f"{program}\0{sys.version}\0".encode())
    own: Sequence[Path] = sorted(CHILD.parent.glob("*.py"))
    theirs = sorted((*program.parent.glob("*.py"), *(program.parent / "megatron").rglob("*.py")))
    for path in (*own, *theirs):
        status = path.stat()
        said.update(f"{path}\0{status.st_mtime_ns}\0{status.st_size}\0".encode())
    return said.hexdigest()


def _keep(answer: Mapping[str, Any], file: Path) -> None:
    """Written whole or not at all; a folder that cannot be written to is no problem of the user's."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(answer))
    except OSError:
        pass
