"""A command and the options of its job -> a batch file of Slurm.

Every option has a fate: a field of nemo-run's executor, one of its additional parameters, or it is refused. What only
the job will know (``$SLURM_JOB_ID``, the address of the first node) stays a variable in the batch file; what only each
task will know (``$SLURM_NODEID``) is left to a shell of that task.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bridge_args.emit.hydra import shell_word
from bridge_args.findings import Finding
from bridge_args.launch import options as flags
from bridge_args.launch import replaced
from bridge_args.launch.nemo_run import SlurmJob, batch_file
from bridge_args.launch.replaced import NotStarted, Start
from bridge_args.launch.unknown import filled, not_known, stands_in
from bridge_args.mapping.translation import Translation
from bridge_args.script import slurm
from bridge_args.script.command import options_of_srun, read_command
from bridge_args.script.state import Hole
from bridge_args.source import Source
from bridge_args.words import Word

PORT: Final = 29500  # torchrun's own default
HEAD: Final = "head_node_ip"  # nemo-run's variable with the address of the first node

# They are about calling sbatch, not about the job.
_OF_THE_CALL: Final = frozenset("help parsable quiet test-only usage verbose version wrap".split())
_OF_A_TASK: Final = ("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_TASK_PID", "SLURMD_NODENAME")
_ADDRESS: Final = re.compile(r"\bhostnames?\b|\bgetent\b|\bnslookup\b|\bip addr")
# A checkout in the folder of the job must not hide the Megatron Core that Bridge was installed with.
_SAFE_PATH: Final = "export PYTHONSAFEPATH=1"
_SLURMS: Final = ("SLURM", "SBATCH_", "SRUN_")
_LISTS: Final = frozenset(
    (
        "PATH LD_LIBRARY_PATH LD_PRELOAD LIBRARY_PATH PYTHONPATH MANPATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH "
        "CMAKE_PREFIX_PATH MODULEPATH PKG_CONFIG_PATH"
    ).split()
)
_SECRET: Final = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


class Batch(NamedTuple):
    """A batch file, and what has to be said about it."""

    name: str
    text: str
    findings: tuple[Finding, ...]


def is_left_to_the_job(name: str) -> bool:
    """A variable that stays one in the batch file: Slurm sets it, or it is a list of folders, or may be a secret."""
    return name.startswith(_SLURMS) or name in _LISTS or _SECRET.search(name) is not None


def sbatch_words(source: Source | None, given: argparse.Namespace) -> list[str]:
    """The options of the job: the script's, then the user's flags, of which the last counts.

    Raises:
        ValueError: a flag that is not right.
    """
    of_script: Sequence[str] = ()
    if source is not None and source.started is not None:
        of_script = source.started.sbatch or slurm.words(source.text)
    return [*of_script, *flags.of_sbatch(given)]


def examples(words: Sequence[str]) -> dict[str, str]:
    """What Slurm tells the first task of such a job, as far as a command line may depend on it."""
    made = {"SLURM_JOB_ID": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    array = slurm.options_of(words).get("array", "")
    if first := re.match(r"\d+", array):
        made |= {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": first.group()}
    return made


def unanswered(source: Source) -> tuple[Finding, ...]:
    """The findings of a source without those about what a batch file answers, or asks for in its own words."""
    holes = source.started.unknown if source.started else ()
    pieces = [text for hole in holes for text in (hole.written, hole.first_written) if text]
    return tuple(
        finding
        for finding in source.findings
        if finding.kind != "unresolved-variable" or not any(piece in finding.message for piece in pieces)
    )


def batch(
    start: Start, words: Sequence[str], given: argparse.Namespace, translation: Translation, env: Mapping[str, str]
) -> Batch:
    """The batch file of a command.

    Args:
        words: the options of the job, as ``sbatch_words`` gives them.
        given: the options of ``bridge-args launch``.
        env: the environment the job is submitted from.

    Raises:
        NotStarted: something that cannot be said, or is not known.
        NemoRunMissing: nemo-run is not there.
    """
    asked, findings = _options(words)
    nodes = _count(asked.get("nodes", "1"))
    if start.launcher is None and not start.front:
        start = _with_launcher(start, asked, nodes, translation)
    name = asked.pop("job-name", "") or _name(given)
    srun, inner = _srun(start, nodes)
    findings += _too_many(start, asked)
    image, mounts, workdir = (getattr(given, option) or _value(srun.get(option, ())) for option in flags.CONTAINER)
    if not image and (mounts or workdir):
        raise NotStarted("a container's mounts or folder are given, and no --container-image")
    known = _Known(start, env)
    exports = ((key, known.word(value)) for key, value in start.environment.items())
    setup = [*given.setup, *known.made, _SAFE_PATH]
    setup += [f"export {key}={value}" for key, value in exports if value != f'"${{{key}}}"']
    # In a container nemo-run mounts the folder the job is submitted from as /nemo_run.
    folder = known.word(start.folder) if start.folder else '"$PWD"'
    stays = (
        ["--container-workdir", known.word(workdir or start.folder or "/nemo_run")] if image else ["--chdir", folder]
    )
    rest = [known.word(word.text) for option, words in srun.items() if option not in flags.CONTAINER for word in words]
    command = _command(inner, known)
    if known.missing:
        raise not_known(known.missing)
    output = asked.pop("output", "") or ("slurm-%A_%a.out" if "array" in asked else "slurm-%j.out")  # sbatch's own
    error = asked.pop("error", None)
    job = SlurmJob(
        name=name,
        options={key: value or True for key, value in asked.items()},
        output=output,
        error=error,
        container_image=known.word(image) if image else None,
        container_mounts=tuple(map(known.word, filter(None, mounts.split(",")))),
        srun_options=("--open-mode=append", *stays, *rest),
        setup=tuple(setup),
        command=command,
    )
    return Batch(name, batch_file(job), (*findings, *known.findings))


def submit(made: Batch, env: Mapping[str, str], write: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Hands the job over to the sbatch of this machine; the batch file stays beside it, for looking things up.

    Returns:
        sbatch's exit code; the number of the job is written.

    Raises:
        NotStarted: there is no sbatch, or the file cannot be written.
    """
    if shutil.which("sbatch", path=env.get("PATH")) is None:
        raise NotStarted("sbatch is not on this machine; --dry-run prints the batch file, to be submitted where it is")
    path = Path(f"{re.sub(r'[^A-Za-z0-9._-]+', '_', made.name)}.bridge.sbatch")  # never the user's own
    try:
        path.write_text(made.text, encoding="utf-8")
    except OSError as error:
        raise NotStarted(f"{path} cannot be written: {error.strerror}") from error
    done = subprocess.run(["sbatch", "--parsable", str(path)], env=dict(env), stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        say(f"submitted {path}; follow it with squeue --job {done.stdout.strip().partition(';')[0]}")
    write(done.stdout)
    return done.returncode


def _options(words: Sequence[str]) -> tuple[dict[str, str], list[Finding]]:
    """The options nemo-run is given, and what becomes of the others."""
    asked, findings = {}, []
    for name, value in slurm.options_of(words).items():
        if name in ("hetjob", "packjob"):
            raise NotStarted(f"#SBATCH {name}: a job of several parts is not made here; submit the script yourself")
        if name in _OF_THE_CALL:
            message = f"#SBATCH {name}: it is about calling sbatch, not about the job, and is left out"
            findings.append(Finding("launcher", message))
            continue
        if name == "signal" and value.startswith("B"):
            message = f"#SBATCH --signal={value} goes to the batch shell only, which has no trap for it here"
            findings.append(Finding("not-read", message, "leave B: out, and the processes get the signal"))
        asked[name] = value
    if not any(name.startswith(("gpus", "tres")) or "gpu" in asked.get("gres", "") for name in asked):
        message = "the job asks for no GPUs"
        findings.append(Finding("launcher", message, "say --gpus-per-node N where your Slurm hands them out by number"))
    return asked, findings


def _too_many(start: Start, asked: Mapping[str, str]) -> list[Finding]:
    """More processes on a node than the job has GPUs there."""
    processes = read_command(start.words).launcher_options.get("nproc_per_node")
    gpus = slurm.from_options([f"--{name}={value}" for name, value in asked.items()]).get("SLURM_GPUS_ON_NODE", "")
    if isinstance(processes, int) and gpus and processes > int(gpus):
        message = f"{processes} processes start on every node, where the job has {gpus} GPU{'s' * (gpus != '1')}"
        return [Finding("launcher", message, f"say --gpus-per-node {processes}")]
    return []


def _with_launcher(start: Start, asked: dict[str, str], nodes: int, translation: Translation) -> Start:
    """Bare arguments: one torchrun a node, which meet on the first node."""
    asked.setdefault("nodes", str(nodes))
    asked.setdefault("ntasks-per-node", "1")
    if translation.world_size % nodes:
        raise NotStarted(f"{translation.world_size} ranks cannot be divided among {nodes} nodes")
    launcher = ["srun", "torchrun", "--nnodes", str(nodes), "--nproc-per-node", str(translation.world_size // nodes)]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"${HEAD}:{PORT}", "--rdzv-id", "$SLURM_JOB_ID"]
    holes = [Hole("variable", f"${name}", -1, (name,), name) for name in (HEAD, "SLURM_JOB_ID")]
    return replaced.bare(start, launcher, translation.program)._replace(unknown=(*start.unknown, *holes))


def _srun(start: Start, nodes: int) -> tuple[dict[str, tuple[Word, ...]], list[Word]]:
    """srun's options, and what it starts."""
    names = [os.path.basename(word.text) for word in start.words[: start.front]]
    if "mpirun" in names or "mpiexec" in names:
        raise NotStarted("mpirun starts the processes itself, and nemo-run starts them with srun; take srun instead")
    if "srun" in names:
        at = names.index("srun")
        if at and names[at - 1] not in ("exec", "nohup", "time"):
            before = " ".join(word.text for word in start.words[:at])
            raise NotStarted(f"{before} stands in front of srun; nemo-run has no place for it there, put it behind")
        options, length = options_of_srun(start.words[at:])
        return options, list(start.words[at + length :])
    command = read_command(start.words)
    told = command.launcher_options.get("nnodes", 1)
    if told == 1 or command.launcher == "python":
        if nodes > 1:
            what = "is told of one node" if command.launcher != "python" else "is started once"
            raise NotStarted(f"the job has {nodes} nodes, and {command.launcher} {what}; say --nnodes to torchrun")
        alone = ["--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--cpu-bind=none"]
    else:
        alone = [f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    return {word.partition("=")[0]: (Word(word),) for word in alone}, list(start.words)


def _command(inner: Sequence[Word], known: _Known) -> str:
    """What every task runs; a shell of its own where only the task knows something."""
    texts = [word.text for word in inner]
    of_task = [name for name in _OF_A_TASK if any(re.search(rf"\$\{{?{name}\b", text) for text in texts)]
    line = replaced.text_of([known.word(text) for text in texts])
    if not of_task:
        return line
    return f"bash -c {shlex.quote(line)}"


class _Known:
    """What stays a variable in the batch file, and the lines that give it its value."""

    def __init__(self, start: Start, env: Mapping[str, str]) -> None:
        self.paths = {hole.written: hole.path for hole in start.unknown if hole.path}
        self.names: dict[str, str] = {}  # as written -> the variable that holds it
        self.made: list[str] = []
        self.there = {HEAD, *(name for name in env if is_left_to_the_job(name))}  # and what the lines set
        self.missing: list[Hole] = []
        self.findings: list[Finding] = []
        rendezvous = _rendezvous(start)
        for hole in sorted(start.unknown, key=lambda hole: hole.at):  # what one needs stands before it
            if not hole.path:
                self._add(hole, start, rendezvous)

    def _add(self, hole: Hole, start: Start, rendezvous: str) -> None:
        written = hole.first_written or hole.written
        exported = next((name for name, value in start.environment.items() if value == hole.written), "")
        name = hole.variable or (hole.first_written and hole.names[0]) or exported or f"LAUNCH_{len(self.names)}"
        self.names[hole.written] = name
        used = {*_VARIABLE.findall(written), *(hole.names if hole.kind == "expression" else ())}
        if hole.variable:
            if any(stands_in(hole, word.text) for word in start.words) and not self._is_there(name):
                self.missing.append(hole)
        elif name != HEAD and all(self._is_there(other) for other in used):
            self.made.append(f'export {name}="{written}"')  # the batch file runs where the script would have
        elif name == HEAD or _ADDRESS.search(written) or stands_in(hole, rendezvous):
            self.made.append(f"export {name}" if name == HEAD else f"export {name}=${HEAD}")
            message = f"{written} becomes the address of the job's first node, as nemo-run finds it"
            self.findings.append(Finding("launcher", message))
        else:
            self.missing.append(hole)
        if not hole.variable:
            self.there.add(name)

    def _is_there(self, name: str) -> bool:
        """May what the user has written use this variable in the batch file?"""
        return name.startswith(_SLURMS) or name in self.there

    def word(self, text: str) -> str:
        """A word for bash, with what is not known as variables."""
        values = {written: f"${{{name}}}" for written, name in self.names.items()}
        return shell_word(filled(text, {**self.paths, **values}), tuple(self.names.values()))


def _rendezvous(start: Start) -> str:
    """What torchrun is told of where the nodes meet."""
    options = read_command(start.words).launcher_options
    return " ".join(str(options.get(name, "")) for name in ("master_addr", "rdzv_endpoint"))


def _value(words: Sequence[Word]) -> str:
    """The value of an option: behind ``=``, or the word after it."""
    if not words:
        return ""
    return words[1].text if len(words) > 1 else words[0].text.partition("=")[2]


def _count(text: str) -> int:
    """How many nodes: the least of a range."""
    found = re.match(r"\d+", text)
    return int(found.group()) if found else 1


def _name(given: argparse.Namespace) -> str:
    return Path(given.source).stem if given.source and given.source != "-" else "bridge-args"
