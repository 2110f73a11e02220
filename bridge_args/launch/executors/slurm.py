"""A command and the options of its job -> a batch file of Slurm.

Every option has a fate: a field of nemo-run's executor, one of its additional parameters, or it is refused. What only
the job will know (``$SLURM_JOB_ID``, the address of the first node) stays a variable in the batch file; what only each
task will know (``$SLURM_NODEID``) is left to a shell of that task.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bridge_args.findings import Finding
from bridge_args.launch import entrypoint
from bridge_args.launch import options as flags
from bridge_args.launch.entrypoint import More, NotStarted, Start
from bridge_args.launch.executors import _slurm_step
from bridge_args.launch.executors._nemo_run import QUIET, SlurmJob, batch_file
from bridge_args.launch.holes import filled, met_in, not_known
from bridge_args.launch.options import Options
from bridge_args.launch.work import Executor, Job, Read, Step, Work, no_manifest, opened
from bridge_args.mapping.translation import Translation
from bridge_args.records import Record
from bridge_args.script import slurm
from bridge_args.script.bash.state import Hole
from bridge_args.script.command import TORCHRUN_FAMILY, options_in_front, options_of_srun, read_command
from bridge_args.secret_names import is_secret
from bridge_args.secrets import Secret, found_in_variables, holds_secret
from bridge_args.source.source import Source
from bridge_args.wording import counted
from bridge_args.words import Word

PORT: Final = 29500  # torchrun's own default
HEAD: Final = "head_node_ip"  # nemo-run's variable with the address of the first node

# They are about calling sbatch, not about the job.
_OF_THE_CALL: Final = frozenset("help parsable quiet test-only usage verbose version wrap".split())
_ADDRESS: Final = re.compile(r"\bhostnames?\b|\bgetent\b|\bnslookup\b|\bip addr")
# A checkout in the folder of the job must not hide the Megatron Core that Bridge was installed with.
_SAFE_PATH: Final = "export PYTHONSAFEPATH=1"
# Characters that stand for what every batch file has; no file of the user's has them.
_HEAD_HERE: Final = "\udbff"
_JOB_HERE: Final = "\udbfe"
_ALWAYS: Final = MappingProxyType({_HEAD_HERE: HEAD, _JOB_HERE: "SLURM_JOB_ID"})
_SLURMS: Final = ("SLURM", "SBATCH_", "SRUN_")
_LISTS: Final = frozenset(
    (
        "PATH LD_LIBRARY_PATH LD_PRELOAD LIBRARY_PATH PYTHONPATH MANPATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH "
        "CMAKE_PREFIX_PATH MODULEPATH PKG_CONFIG_PATH"
    ).split()
)
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


class Batch(Record):
    """A batch file, and what has to be said about it.

    Attributes:
        environment: secrets that it takes from the environment it is submitted from.
        private: is it for its owner only?
    """

    name: str
    text: str
    findings: tuple[Finding, ...]
    environment: Mapping[str, str] = MappingProxyType({})
    private: bool = False


def is_left_to_the_job(name: str) -> bool:
    """A variable that stays one in the batch file: Slurm sets it, or it is a list of folders, or may be a secret."""
    return name.startswith(_SLURMS) or name in _LISTS or is_secret(name)


def sbatch_words(source: Source | None, given: Options) -> list[str]:
    """The options of the job: the script's, then the user's flags, of which the last counts.

    Raises:
        ValueError: a flag that is not right.
    """
    of_script = list(source.job if source is not None else ())
    asked = flags.of_sbatch(given)
    if of_script and of_script[len(of_script) - len(asked) :] == asked:  # it was read with them
        del of_script[len(of_script) - len(asked) :]
    return [*_scaled(of_script, given), *asked]


def _scaled(words: Sequence[str], given: Options) -> list[str]:
    """Totals in a script, where ``launch`` is told another number of nodes."""
    options = slurm.options_of(words)
    before = slurm.size_of(options).nodes
    if given.nodes is None or not before or given.nodes == before:
        return list(words)
    made = list(words)
    for name in ("ntasks", "gpus"):
        kind, colon, number = options.get(name, "").rpartition(":")
        if number.isdigit():
            made.append(f"--{name}={kind}{colon}{int(number) * given.nodes // before}")
    return made


def examples(words: Sequence[str]) -> dict[str, str]:
    """What Slurm tells the first task of such a job, as far as a command line may depend on it."""
    made = {"SLURM_JOB_ID": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    array = slurm.options_of(words).get("array", "")
    if first := re.match(r"\d+", array):
        made |= {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": first.group()}
    return made


def unanswered(source: Source) -> tuple[Finding, ...]:
    """The findings of a source without those about what a batch file answers, or asks for in its own words."""
    raw = source.started.raw if source.started else None
    open_there = {hole.said for hole in (raw.holes if raw else ())} - {""}
    return tuple(finding for finding in source.findings if finding.about not in open_there)


def batch(
    start: Start, words: Sequence[str], given: Options, translation: Translation, env: Mapping[str, str]
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
    srun, inner, starts_tasks = _srun(start, nodes, given)
    findings += _too_many(start, asked)
    image, mounts, workdir = (
        value or _value(srun.get(option, ())) for option, value in zip(flags.CONTAINER, given.container, strict=True)
    )
    if not image and (mounts or workdir):
        raise NotStarted("a container's mounts or folder are given, and no --container-image")
    passed = asked.get("export", "ALL").split(",")[0] == "ALL"
    known = _Known(start, env, not starts_tasks, translation.secrets if passed else ())
    setup = [QUIET, *given.setup, *known.made, _SAFE_PATH, *known.exports]
    # In a container nemo-run mounts the folder the job is submitted from as /nemo_run.
    folder = known.word(start.folder) if start.folder else '"$PWD"'
    stays = (
        ["--container-workdir", known.word(workdir or start.folder or "/nemo_run")] if image else ["--chdir", folder]
    )
    rest = [known.word(word) for option, words in srun.items() if option not in flags.CONTAINER for word in words]
    command = known.command(inner)
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
    text = batch_file(job)
    findings += _about_secrets(known.secrets, text)
    private = holds_secret(text) or _is_private(given)
    return Batch(name, text, (*findings, *known.findings), known.secrets, private)


def _about_secrets(passed: Mapping[str, str], text: str) -> list[Finding]:
    """What becomes of the secrets of a script."""
    findings = []
    if passed:
        names = ", ".join(passed)
        message = f"the batch file takes {names} from the environment it is submitted from, and does not hold the value"
        findings.append(Finding("launcher", message, f"where you submit it yourself, export {names} before sbatch"))
    if holds_secret(text):
        message = "the batch file holds a secret, and is for its owner only"
        findings.append(Finding("launcher", message, "set it with an environment variable"))
    return findings


def _is_private(given: Options) -> bool:
    """May nobody but its owner read the script?"""
    try:
        return given.source is not None and not stat.S_IMODE(os.stat(given.source).st_mode) & 0o077
    except OSError:  # standard input
        return False


def on_nodes(source: Source, given: Options) -> Source:
    """The source as it is with another number of nodes, where ``launch`` is told one."""
    command = source.command
    if given.nodes is None:
        return source
    options = dict(command.launcher_options)
    if command.launcher in TORCHRUN_FAMILY:
        options["nnodes"] = given.nodes
    elif command.launcher == "srun":
        of_script = slurm.options_of(source.job[: len(source.job) - len(flags.of_sbatch(given))])
        nodes, tasks = options.get("nodes"), options.get("ntasks")  # srun's own, or the job's where it has none
        before = nodes if isinstance(nodes, int) else slurm.size_of(of_script).nodes
        if isinstance(tasks, int) and before and (nodes or "ntasks" in of_script):
            options["ntasks"] = tasks * given.nodes // before
        if "nodes" in options:
            options["nodes"] = given.nodes
    return source._replace(command=command._replace(launcher_options=options))


def other_nodes(words: Sequence[Word], given: Options) -> dict[int, tuple[str, ...]]:
    """Words that tell torchrun of other nodes than the job has, where ``launch`` is told how many it has.

    Where the nodes meet changes with them, unless the script works it out.
    """
    command = read_command(words)
    if given.nodes is None or command.launcher not in TORCHRUN_FAMILY:
        return {}
    told = command.launcher_options.get("nnodes", 1)
    nodes = given.nodes
    if told == nodes or (isinstance(told, str) and "$" in told):
        return {}
    at = options_in_front(words)
    edits: dict[int, tuple[str, ...]] = {}

    def drop(*names: str) -> None:
        for name in names:
            if name in at:
                edits.update((index, ()) for index in range(at[name][0], at[name][1] + 1))

    more: list[str] = []
    if "nnodes" in at:
        first, last = at["nnodes"]
        edits[last] = (str(nodes),) if last > first else (f"--nnodes={nodes}",)
    else:
        more += ["--nnodes", str(nodes)]
    where = " ".join(str(command.launcher_options.get(name, "")) for name in ("master_addr", "rdzv_endpoint"))
    if nodes > 1 and "$" not in where:
        drop("standalone", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf", "master_addr", "master_port")
        drop("node_rank", "local_addr")
        more += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{_HEAD_HERE}:{PORT}", "--rdzv-id", _JOB_HERE]
    if more:
        count = len(words) - len(command.argv)
        at_program = count - 2 if command.module and words[count - 2].text == "-m" else count - 1
        kept = () if at_program == count - 1 else (words[at_program].text,)
        edits[at_program] = (*more, *kept)
    return edits


def submit(made: Batch, env: Mapping[str, str], write: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Hands the job over to the sbatch of this machine; the batch file stays beside it, for looking things up.

    Returns:
        sbatch's exit code; the number of the job is written.

    Raises:
        NotStarted: there is no sbatch, or the file cannot be written.
    """
    if shutil.which("sbatch", path=env.get("PATH")) is None:
        raise NotStarted("sbatch is not on this machine; --dry-run prints the batch file, to be submitted where it is")
    path = _written(made)
    environment = {**env, **made.environment}
    done = subprocess.run(["sbatch", "--parsable", str(path)], env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        say(f"submitted {path}; follow it with squeue --job {done.stdout.strip().partition(';')[0]}")
    write(done.stdout)
    return done.returncode


def _written(made: Batch) -> Path:
    """The batch file as a new file: what is there already stays as it is, and the name gets a number.

    Raises:
        NotStarted: it cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", made.name)
    number, path = 1, Path(f"{name}.bridge.sbatch")  # never the user's own
    while True:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL  # which follow no link
            with open(os.open(path, flags, 0o600 if made.private else 0o666), "w", encoding="utf-8") as file:
                file.write(made.text)
            return path
        except FileExistsError:
            number += 1
            path = Path(f"{name}.bridge.{number}.sbatch")
        except OSError as error:
            raise NotStarted(f"{path} cannot be written: {error.strerror}") from error


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
        findings.append(Finding("launcher", message, "set --gpus-per-node N if your Slurm allocates GPUs by number"))
    return asked, findings


def _too_many(start: Start, asked: Mapping[str, str]) -> list[Finding]:
    """More processes on a node than the job has GPUs there."""
    processes = start.options.get("nproc_per_node")
    gpus = slurm.from_options([f"--{name}={value}" for name, value in asked.items()]).get("SLURM_GPUS_ON_NODE", "")
    if isinstance(processes, int) and gpus and processes > int(gpus):
        message = f"{counted(processes, 'process')} start on every node, where the job has {counted(int(gpus), 'GPU')}"
        return [Finding("launcher", message, f"set --gpus-per-node {processes}")]
    return []


def _with_launcher(start: Start, asked: dict[str, str], nodes: int, translation: Translation) -> Start:
    """Bare arguments: one torchrun a node, which meet on the first node."""
    asked.setdefault("nodes", str(nodes))
    asked.setdefault("ntasks-per-node", "1")
    if translation.world_size % nodes:
        raise NotStarted(f"{translation.world_size} ranks cannot be divided among {nodes} nodes")
    launcher = ["srun", "torchrun", "--nnodes", str(nodes), "--nproc-per-node", str(translation.world_size // nodes)]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{_HEAD_HERE}:{PORT}", "--rdzv-id", _JOB_HERE]
    return entrypoint.bare(start, launcher, translation.program)


def _srun(start: Start, nodes: int, given: Options) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...], bool]:
    """srun's options, what it starts, and whether that is the script's own srun."""
    words = start.words
    names = [os.path.basename(word) for word in words[: start.front]]
    if "mpirun" in names or "mpiexec" in names:
        raise NotStarted("mpirun starts the processes itself, and nemo-run starts them with srun; take srun instead")
    if "srun" in names:
        at = names.index("srun")
        before = names[:at]
        while before and before[-1] in ("exec", "nohup", "time"):
            before.pop()
        if before and before[0] != "salloc":  # whose options are the job's
            shown = " ".join(words[:at])
            raise NotStarted(f"{shown} comes before srun, where nemo-run cannot put it; move it after srun")
        found, length = options_of_srun([Word(word) for word in words[at:]])
        options = {name: tuple(word.text for word in some) for name, some in found.items()}
        return _on_nodes(options, given), words[at + length :], True
    told = start.options.get("nnodes", 1)
    if given.nodes is not None and start.launcher in TORCHRUN_FAMILY and told != nodes:
        told = nodes  # as other_nodes writes it
    if told == 1 or start.launcher == "python":
        if nodes > 1:
            what = "is set up for one node" if start.launcher != "python" else "is started once"
            raise NotStarted(f"the job has {nodes} nodes, and {start.launcher} {what}; give torchrun --nnodes")
        alone = ["--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--cpu-bind=none"]
    else:
        alone = [f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    return {word.partition("=")[0]: (word,) for word in alone}, words, told == 1 or start.launcher == "python"


def _on_nodes(options: dict[str, tuple[str, ...]], given: Options) -> dict[str, tuple[str, ...]]:
    """srun's own options with the number of nodes that ``launch`` is told."""
    before = _value(options.get("nodes", ()))
    if given.nodes is None or not before.isdigit():
        return options
    changed = {**options, "nodes": (f"--nodes={given.nodes}",)}
    tasks = _value(options.get("ntasks", ()))
    if tasks.isdigit():
        changed["ntasks"] = (f"--ntasks={int(tasks) * given.nodes // int(before)}",)
    return changed


class _Known:
    """What stays a variable in the batch file, and the lines that give it its value.

    Args:
        of_tasks: does the batch file start tasks where the script started none? Then what a task is told is left to it.
        secrets: what is not to stand in the file; the environment it is submitted from has it.
    """

    def __init__(self, start: Start, env: Mapping[str, str], of_tasks: bool, secrets: Sequence[Secret]) -> None:
        self.environment = start.environment
        self.holes = met_in((*start.words, *start.environment.values(), start.folder), start.holes)
        self.paths = {char: hole.path for char, hole in self.holes.items() if hole.path}
        self.names: dict[str, str] = dict(_ALWAYS)  # the character that stands for it -> the variable that holds it
        self.inside: dict[str, str] = {}  # the same for what a task works out, as bash writes it
        self.made: list[str] = []
        self.there = {HEAD, *(name for name in env if is_left_to_the_job(name))}  # and what the lines set
        self.missing: list[Hole] = []
        self.findings: list[Finding] = []
        rendezvous = " ".join(str(start.options.get(name, "")) for name in ("master_addr", "rdzv_endpoint"))
        for char, hole in self.holes.items():
            told = slurm.OF_A_TASK.intersection((*hole.names, *_VARIABLE.findall(_first(hole))))
            if of_tasks and told and not hole.path:
                self.inside[char] = f"${{{hole.variable}}}" if hole.variable else _first(hole)
        for char, hole in sorted(self.holes.items(), key=lambda item: item[1].at):  # what one needs stands before it
            if not hole.path and char not in self.inside:
                self._add(char, hole, start, rendezvous)
        self.secrets: dict[str, str] = {}  # variable -> value
        self.hidden: dict[str, str] = {}  # value -> the character that stands for it
        if secrets:
            self._hide((*secrets, *found_in_variables(start.environment)), start)
        exports = {name: value for name, value in start.environment.items() if self.names.get(value) != name}
        self.in_tasks = {name: value for name, value in exports.items() if set(value) & set(self.inside)}
        self.exports = [
            f"export {name}={self.word(value)}"
            for name, value in exports.items()
            if name not in self.in_tasks and self.secrets.get(name) != value
        ]
        self.made[:0] = [f': "${{{name}:?}}"' for name in self.secrets]

    def _hide(self, secrets: Sequence[Secret], start: Start) -> None:
        """Secrets become variables; one that a word holds is put there as it is, wherever in the word it stands."""
        texts = (*start.words, *start.environment.values())
        for name, value in sorted(dict.fromkeys(secrets), key=lambda secret: -len(secret.value)):
            if not value or value in self.hidden or not any(value in text for text in texts):
                continue
            taken = {*self.secrets, *self.names.values()}
            free = name and name not in taken and start.environment.get(name, value) == value
            self.hidden[value] = chr(ord(_JOB_HERE) - 1 - len(self.hidden))
            self.names[self.hidden[value]] = name if free else f"BRIDGE_ARGS_SECRET_{len(self.hidden)}"
            self.secrets[self.names[self.hidden[value]]] = value

    def _add(self, char: str, hole: Hole, start: Start, rendezvous: str) -> None:
        written = _first(hole)
        exported = next((name for name, value in start.environment.items() if value == char), "")
        name = (
            hole.variable
            or (hole.first_written and hole.names[0])
            or exported
            or f"LAUNCH_{len(self.names) - len(_ALWAYS)}"
        )
        self.names[char] = name
        used = {*_VARIABLE.findall(written), *(hole.names if hole.kind == "expression" else ())}
        if hole.variable:
            if any(char in word for word in start.words) and not self._is_there(name):
                self.missing.append(hole)
        elif name != HEAD and all(self._is_there(other) for other in used):
            self.made.append(
                f'{self._export(char, name)}{name}="{written}"'
            )  # the file runs where the script would have
        elif _ADDRESS.search(written) or char in rendezvous:
            if name != HEAD:
                self.made.append(f"{self._export(char, name)}{name}=${HEAD}")
            elif self._export(char, name):
                self.made.append(f"export {name}")
            message = f"{written} becomes the address of the job's first node, as nemo-run finds it"
            self.findings.append(Finding("launcher", message))
        else:
            self.missing.append(hole)
        if not hole.variable:
            self.there.add(name)

    def _export(self, char: str, name: str) -> str:
        """A variable of the shell stays one, unless a task is to know it."""
        exported = self.environment.get(name) == char
        return "export " if exported or self.inside else ""

    def _is_there(self, name: str) -> bool:
        """May what the user has written use this variable in the batch file?"""
        return name.startswith(_SLURMS) or name in self.there

    def word(self, text: str) -> str:
        """A word for bash, with what is not known as variables."""
        text = filled(text, self.paths)
        for value, char in self.hidden.items():
            text = text.replace(value, char)
        if not (set(text) & (set(self.names) | set(self.inside))):
            return shlex.quote(text)
        made = ""
        for char in text:
            if char in self.names:
                made += f"${{{self.names[char]}}}"
            else:
                made += self.inside.get(char, "\\" + char if char in '"$`\\' else char)
        return f'"{made}"'

    def command(self, words: Sequence[str]) -> str:
        """What every task runs; a shell of its own where only the task knows something."""
        line = entrypoint.text_of([self.word(text) for text in words])
        if not self.in_tasks and not any(set(text) & set(self.inside) for text in words):
            return line
        lines = [f"export {name}={self.word(value)}" for name, value in self.in_tasks.items()]
        return f"bash -c {shlex.quote(chr(10).join([*lines, 'exec ' + line]))}"


def _first(hole: Hole) -> str:
    return hole.first_written or hole.written


def _value(words: Sequence[str]) -> str:
    """The value of an option: behind ``=``, or the word after it; of ``-N2``, what is attached."""
    if not words:
        return ""
    if len(words) > 1:
        return words[1]
    return words[0].partition("=")[2] if "=" in words[0] or words[0].startswith("--") else words[0][2:]


def _count(text: str) -> int:
    """How many nodes: the least of a range."""
    found = re.match(r"\d+", text)
    return int(found.group()) if found else 1


def _name(given: Options) -> str:
    return Path(given.source).stem if given.source and given.source != "-" else "bridge-args"


# As an executor -------------------------------------------------------------------------------------------------------


def _read(given: Options, read_source: Read, env: Mapping[str, str]) -> Job:
    """What only the job will know is left open in what it is given, and has examples in what is translated."""
    of_tasks = slurm.OF_A_TASK
    inherited = {name: value for name, value in env.items() if not is_left_to_the_job(name) and name not in of_tasks}
    asked = flags.of_sbatch(given)
    source = no_manifest(read_source(inherited, asked), given)
    words = sbatch_words(source, given)
    if slurm.options_of(words).get("export", "").startswith("NONE"):
        inherited = {}
    inherited |= slurm.from_options(words)
    ranks = given.asked.world_size
    if source.command.program is None and ranks is None:  # bare arguments: a rank for every GPU
        counts = [inherited.get(name, "") for name in ("SLURM_NNODES", "SLURM_GPUS_ON_NODE")]
        ranks = int(counts[0] or 1) * int(counts[1]) if counts[1] else None
    source = opened(read_source(inherited, asked), inherited)
    filled_in = {**examples(words), **inherited}
    translated = opened(read_source(filled_in, asked, first_task=True), filled_in, first_task=True)
    translated = on_nodes(translated, given)._replace(findings=unanswered(translated))
    return Job(source, translated, inherited, ranks)


def _changing(given: Options, source: Source) -> More:
    return partial(other_nodes, given=given)


def _start(work: Work) -> int:
    words = sbatch_words(work.job.source if work.job else None, work.given)
    made = batch(work.start, words, work.given, work.translation, work.env)
    for finding in made.findings:
        work.say(finding)
    if work.given.dry_run:
        work.write(made.text)
        return 0
    return submit(made, work.env, work.write, work.say)


def _run_step(step: Step) -> int:
    text = _slurm_step.text_of(step)
    secrets = {name: value for name, value in _slurm_step.secret_variables(step).items() if value}
    for finding in _about_secrets(secrets, text):
        step.say(finding)
    if step.dry_run:
        step.write(text)
        return 0
    return submit(Batch(step.name, text, (), secrets, holds_secret(text)), step.env, step.write, step.say)


EXECUTOR: Final = Executor(_run_step, _read, _changing, _start)
