"""Starting a command on this machine, and being as if it were not there: signals in, exit code out.

The launcher is that of the interpreter that runs this, unless the script names one by its path.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bridge_args.drop_in import errors
from bridge_args.emit.hydra import shell_word
from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.launch import options
from bridge_args.launch.entrypoint import More, NotStarted, Start, bare, text_of
from bridge_args.launch.holes import filled, met_in, not_known
from bridge_args.launch.options import Options
from bridge_args.launch.work import Executor, Job, Read, Step, Work, no_manifest, opened
from bridge_args.mapping.hiding import with_references
from bridge_args.records import Record
from bridge_args.script.kept import Edits, elsewhere
from bridge_args.script.programs import ELSEWHERE
from bridge_args.secrets import MASK, Secret, found_in_variables, found_in_words, masked
from bridge_args.source.source import Source
from bridge_args.values import references_in
from bridge_args.words import Word

# A launcher's bare name -> the module that is this interpreter's own.
_MODULES: Final = {
    "torchrun": "torch.distributed.run",
    "ft_launcher": "nvidia_resiliency_ext.fault_tolerance.launcher",
}
_SAFELY: Final = () if sys.version_info >= (3, 11) else ("-I",)  # which knows no PYTHONSAFEPATH
_FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")
# What torchrun tells every rank itself, whatever was exported before.
_TOLD_BY_TORCHRUN: Final = frozenset(
    "MASTER_ADDR MASTER_PORT WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK ROLE_RANK".split()
)
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class Local(Record):
    """A command of this machine; everything in it is known.

    Attributes:
        environment: what it is given on top of the environment of this process.
        folder: where it is started; empty for here.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str = ""


def on_this_machine(start: Start) -> Local:
    """The command with everything filled in.

    Raises:
        NotStarted: words hold what nobody has given.
    """
    paths = {char: hole.path for char, hole in start.holes.items() if hole.path}
    unknown = {char: hole for char, hole in start.holes.items() if not hole.path}
    missing = met_in(start.words, unknown)
    environment = {}
    for name, value in start.environment.items():
        commands = {char: hole for char, hole in met_in([value], unknown).items() if not hole.variable}
        if commands and start.launcher in ("torchrun", "ft_launcher") and name in _TOLD_BY_TORCHRUN:
            continue
        missing.update(commands)
        unset = {char: "" for char, hole in unknown.items() if hole.variable}  # bash reads them as empty
        environment[name] = filled(value, {**paths, **unset})
    if missing:
        raise not_known(missing.values())
    words = tuple(filled(word, paths) for word in start.words)
    folder = os.path.expanduser(filled(start.folder, paths))
    environment.setdefault("PYTHONSAFEPATH", "1")  # nothing of this folder stands in for what is installed
    return Local(words, environment, folder)


def not_here(local: Local) -> str:
    """What of it is not on this machine; empty when all is there."""
    if shutil.which(local.words[0], path=local.environment.get("PATH")) is None:
        return f"{local.words[0]} is not on this machine"
    if local.folder and not os.path.isdir(local.folder):
        return f"the command is started in {local.folder}, which is not here"
    return ""


def shown(local: Local, secrets: Sequence[Secret] = ()) -> str:
    """The command as bash would be given it: where, with which variables, what; without its secrets.

    A secret variable is left to the shell that this is given to; words name it.
    """
    exported = found_in_variables(local.environment)
    known = (*secrets, *exported, *found_in_words(local.words))
    lines = []
    for name, value in local.environment.items():
        if Secret(name, value) in exported:
            lines.append(f"# export {name}={MASK}: a secret, which is not shown; the shell must have it")
        else:
            lines.append(f"export {name}={_shown_word(value, exported, known)}")
    if local.folder:
        lines.insert(0, f"cd {_shown_word(local.folder, exported, known)}")
    return "\n".join([*lines, text_of([_shown_word(word, exported, known) for word in local.words])]) + "\n"


def _shown_word(word: str, exported: Sequence[Secret], known: Sequence[Secret]) -> str:
    with_names = with_references(word, exported)
    return shell_word(masked(with_names, known), tuple(references_in(with_names)))


def run(local: Local, env: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Starts the command and waits for it; what ends a rank by an exception is said once more, last.

    Signals that come here go to the command, which is in a session of its own so that it gets each of them once. It
    is told to end (SIGTERM) when this process is killed.

    Args:
        env: the environment of this process.
        say: tells the user.

    Returns:
        Its exit code; 128 + the number of the signal it died of.

    Raises:
        NotStarted: the system cannot start it.
    """
    with tempfile.TemporaryDirectory(prefix="bridge-args-") as folder:
        environment = {**env, **local.environment, errors.FOLDER: folder}
        code = _waited_for(local, environment)
        if code:
            found = errors.failures(folder)
            say(f"the run ended with exit code {code}" + (f"\n{errors.told(found)}" if found else ""))
        return code


def _waited_for(local: Local, environment: Mapping[str, str]) -> int:
    numbers = [getattr(signal, name) for name in _FORWARDED]
    # What arrives before there is a child waits until there is one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        child = subprocess.Popen(
            local.words,
            cwd=local.folder or None,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_child_setup(os.getpid(), before),
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise NotStarted(f"{local.words[0]} cannot be started: {error.strerror}") from error
    old = {number: signal.signal(number, lambda number, frame: child.send_signal(number)) for number in numbers}
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        code = child.wait()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _child_setup(parent: int, mask: set[int | signal.Signals]) -> Callable[[], None]:
    """What the child does first; the library is loaded before there is a child."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def setup() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
            if os.getppid() != parent:  # killed in between
                os.kill(os.getpid(), signal.SIGTERM)

    return setup


def of_this_python(words: Sequence[Word], python: str = sys.executable) -> Edits:
    """Launchers by their bare names become those of this interpreter, up to where other programs are."""
    edits: dict[int, tuple[str, ...]] = {}
    for index, word in enumerate(words):
        name = word.text.rsplit("/", 1)[-1]
        if name in ELSEWHERE or word.text.startswith("--container-image"):
            break
        if word.text in _MODULES:
            edits[index] = (python, *_SAFELY, "-m", _MODULES[word.text])
        elif word.text in ("python", "python3"):
            edits[index] = (python,)
    return edits


# As an executor -------------------------------------------------------------------------------------------------------


def _read(given: Options, read_source: Read, env: Mapping[str, str]) -> Job:
    if flags := options.for_slurm(given):
        raise WrongValue(f"{flags[0]} applies to a Slurm job; add --executor slurm")
    source = opened(no_manifest(read_source(env), given), env)
    return Job(source, source, env, given.asked.world_size)


def _changing(given: Options, source: Source) -> More:
    """The programs of this interpreter, unless the command is started elsewhere."""
    return lambda words: {} if source.started and elsewhere(source.started) else of_this_python(words)


def _start(work: Work) -> int:
    start, job, given = work.start, work.job, work.given
    if start.launcher is None and not start.front:
        launcher = [*of_this_python([Word("torchrun")])[0], "--standalone"]
        launcher += ["--nproc-per-node", str(work.translation.world_size)]
        start = bare(start, launcher, work.translation.program)
    try:
        ready = on_this_machine(start)
    except NotStarted as problem:
        if job is None or not job.source.job:
            raise
        raise NotStarted(f"{problem}\nthis is a script of Slurm: --executor slurm makes a job of it") from problem
    missing = not_here(ready)
    if given.dry_run:
        if missing:
            work.say(Finding("launcher", missing, "the command is for where it is"))
        work.write(shown(ready, work.translation.secrets))
        return 0
    if missing:
        raise NotStarted(missing)
    return run(ready, work.env, work.say)


def _step(step: Step) -> int:
    """Nothing but the command: a profile has nothing to say of this machine."""
    if step.settings:
        raise WrongValue(f"{min(step.settings)} is a setting of a job; on this machine there is none")
    step.write(shlex.join(step.words) + "\n")
    return 0


EXECUTOR: Final = Executor(_step, _read, _changing, _start)
