"""Questions to a checkout: its catalog, and what it makes of command lines. ``child.py`` answers them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bridge_args import children
from bridge_args.errors import UserError
from bridge_args.files import remember, write_whole
from bridge_args.records import Record

_MODULE = "bridge_args.checkout.sandbox"
START_SECONDS: Final = 300.0  # importing torch and Megatron-LM from a cold disk
CASE_SECONDS: Final = 60.0
MOST_BYTES: Final = 1 << 28  # of all answers
_KEPT_BYTES: Final = 1 << 26  # of a catalog that is kept
_GRACE: Final = 10.0  # seconds
_KEPT: Final = "PATH LD_LIBRARY_PATH LANG LC_ALL LC_CTYPE TZ CUDA_HOME CUDA_PATH SYSTEMROOT".split()


class CheckoutError(UserError, ValueError):
    """The folder is no checkout, or its program cannot be asked; the message says which and why."""


class Case(Record):
    """One command line.

    Attributes:
        env: the variables of the run that are known.
        capability: CUDA compute capability of the run's GPUs.
        saved: folder of a checkpoint to what is in it for ``--use-checkpoint-args``: ``args``, ``checkpoint_version``.
            The checkout reads no checkpoint itself: that would run what the file says.
    """

    argv: tuple[str, ...]
    world_size: int
    env: Mapping[str, str] = MappingProxyType({})
    capability: tuple[int, int] = (9, 0)
    saved: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def catalog_of(checkout: str | Path, program: str = "pretrain_gpt.py", cache: Path | None = None) -> dict[str, Any]:
    """What the checkout's parser has, as a catalog file says it, without version.

    Args:
        cache: a folder where the answer is kept until a source file of the checkout changes; None: nothing is kept.

    Raises:
        CheckoutError: when the checkout has no such program, or its parser cannot be reached.
    """
    path = _program(checkout, program)
    kept = cache / f"{_state(path)}.json" if cache is not None else None
    found = _kept(kept) if kept is not None else None
    if found is not None:
        return found
    (answer,) = _answers(path, {"catalog": True, "container": False, "cases": [], "timeout": CASE_SECONDS}, 1)
    _checked(answer, path)
    if not _is_catalog(answer):
        raise CheckoutError(f"{path} cannot be asked: its parser is described in a way that cannot be read")
    if kept is not None:
        _keep(answer, kept)
    return answer


def effective(
    checkout: str | Path,
    cases: Iterable[Case],
    program: str = "pretrain_gpt.py",
    *,
    catalog: bool = False,
    container: bool = False,
    timeout: float = CASE_SECONDS,
) -> list[dict[str, Any]]:
    """What the checkout makes of each command line; the checkout is imported once for all of them.

    An answer holds ``parsed``, the arguments as typed and with defaults, and ``args``, those behind ``validate_args``.
    Where the checkout refuses the command line it holds ``stage`` and ``error`` (``type``, ``message``, ``where``).
    With ``catalog`` the first answer is the catalog. With ``container`` an answer also holds that: the fields of
    Megatron-LM's own configuration container, as ``checkout/fields.py`` has them; None before Megatron-LM 0.18.

    Args:
        timeout: seconds for one command line.

    Raises:
        CheckoutError: when the checkout has no such program, or cannot be imported.
    """
    path = _program(checkout, program)
    asked = [{**case._asdict(), "env": dict(case.env), "saved": dict(case.saved)} for case in cases]
    request = {"catalog": catalog, "container": container, "cases": asked, "timeout": timeout}
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
    with tempfile.TemporaryDirectory(prefix="bridge-args-", ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        question, answers, log = folder / "question.json", folder / "answers.jsonl", folder / "log"
        question.write_text(json.dumps(request), encoding="utf-8")
        package = str(Path(__file__).resolve().parents[2])
        words = (str(folder), str(seconds), package, str(program), str(question), str(answers))
        with open(log, "wb") as printed, children.ended_by_signals():
            process = subprocess.Popen(
                children.command(_MODULE, *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=printed,
                env=children.environment(_clean(os.environ, folder)),
                cwd=folder,
                start_new_session=True,
            )
            assert process.stdout is not None
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise CheckoutError(f"{program} gave no answer in {seconds:.0f} seconds") from None
            finally:
                _end(process)
                told = process.stdout.read(1 << 16)
                process.stdout.close()
        _note_missing(told)
        lines = _text(answers, MOST_BYTES).splitlines()
        if process.returncode != 0 or len(lines) != expected:
            last = _text(log, 1 << 20, last=True).strip().splitlines()[-1:]
            raise CheckoutError(f"{program} cannot be asked: {last[0] if last else f'status {process.returncode}'}")
    try:
        found = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        found = []
    if not all(isinstance(answer, dict) and _is_told(answer.get("error")) for answer in found) or not found:
        raise CheckoutError(f"{program} gave an answer that cannot be read")
    return found


def _clean(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a checkout may know of this session's variables: where programs and libraries are, and the language."""
    kept = {name: variables[name] for name in _KEPT if name in variables}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        kept[name] = str(folder)
    if "PYTHONPATH" in variables:
        kept["PYTHONPATH"] = variables["PYTHONPATH"]
    return kept


def _text(path: Path, most: int, *, last: bool = False) -> str:
    """The text of a regular file that a checkout could write to; empty for anything else, and where it is too long."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or (status.st_size > most and not last):
                return ""
            if last:
                file.seek(max(0, status.st_size - most))
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_told(error: object) -> bool:
    """None, or an exception as ``child.py`` tells it?"""
    if error is None:
        return True
    if not isinstance(error, dict) or not all(isinstance(error.get(name), str) for name in ("type", "message")):
        return False
    where = error.get("where")
    return where is None or (isinstance(where, list) and len(where) == 4)


_missing: set[str] = set()


def _note_missing(told: bytes) -> None:
    try:
        _missing.update(map(str, json.loads(told)["missing"]))
    except (ValueError, KeyError, TypeError):
        _missing.add("name spaces")


def not_isolated() -> str:
    """What the checkouts asked so far could do, because this system does not give everything; empty for nothing."""
    if not _missing:
        return ""
    could = []
    if "name spaces" in _missing or "files" in _missing:
        could += ["write files"] if "Landlock" in _missing else []
    if ("name spaces" in _missing or "/proc" in _missing) and "Landlock" in _missing:
        could += ["read the variables of your other programs"]
    if "name spaces" in _missing:
        could += ["reach the network"] if "seccomp" in _missing else []
        could += ["leave processes behind when this program is killed"]
    return ", ".join(could)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever the checkout started from it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):
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


def cache_folder() -> Path | None:
    """Where catalogs of checkouts are kept: ``$XDG_CACHE_HOME/bridge_args``, else ``~/.cache/bridge_args``.

    None where there is neither.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(named if os.path.isabs(named) else Path.home() / ".cache") / "bridge_args"
    except RuntimeError:  # nobody's home
        return None


def _state(program: Path) -> str:
    """A name that changes when a source file of the checkout does, or the interpreter, or we."""
    said = hashlib.sha256(f"{program}\0{sys.version}\0".encode(errors="surrogateescape"))
    own: Sequence[Path] = sorted(Path(__file__).parent.glob("*.py"))
    theirs = sorted((*program.parent.glob("*.py"), *(program.parent / "megatron").rglob("*.py")))
    for path in (*own, *theirs):
        try:
            status = path.stat()
        except OSError:  # a link to nothing
            continue
        remember(path)
        text = f"{path}\0{status.st_mtime_ns}\0{status.st_size}\0"
        said.update(text.encode(errors="surrogateescape"))
    return said.hexdigest()


def _kept(file: Path) -> dict[str, Any] | None:
    """The catalog in a file; None where there is no such file, or it holds anything else."""
    try:
        found = json.loads(_text(file, _KEPT_BYTES))
    except (ValueError, RecursionError):
        return None
    return found if _is_catalog(found) else None


def _keep(answer: Mapping[str, Any], file: Path) -> None:
    """Written whole or not at all; a folder that cannot be written to is no problem of the user's."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISREG(os.lstat(file).st_mode) if os.path.lexists(file) else True:
            write_whole(file, json.dumps(answer))
    except OSError:
        pass


# An argument as ``describe.described`` has it: ``megatron_lm.catalog.Argument``, in JSON.
_TEXTS: Final = ("action", "type", "group", "enum", "field", "requires", "environment")
_LISTS: Final = ("flags", "choices", "members")


def _is_catalog(found: object) -> bool:
    """Is this what a parser says of its arguments, whoever has written it?"""
    if not isinstance(found, dict) or not isinstance(found.get("program_defaults"), dict):
        return False
    arguments = found.get("arguments")
    return isinstance(arguments, list) and bool(arguments) and all(map(_is_argument, arguments))


def _is_argument(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("dest"), str)
        and isinstance(entry.get("action"), str)
        and all(entry.get(name) is None or isinstance(entry[name], str) for name in _TEXTS)
        and all(entry.get(name) is None or isinstance(entry[name], list) for name in _LISTS)
        and all(isinstance(flag, str) for flag in entry.get("flags") or ())
        and all(isinstance(member, str) for member in entry.get("members") or ())
        and not any(isinstance(choice, list) for choice in entry.get("choices") or ())
        and (entry.get("exclusive") is None or isinstance(entry["exclusive"], int))
        and (entry.get("nargs") is None or isinstance(entry["nargs"], (int, str)))
    )
