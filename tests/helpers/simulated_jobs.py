"""A Slurm and an MPI that start nothing but recorders: which words and which environment every task is given.

Programs of the same names as the real ones stand first on PATH. ``srun`` and ``mpirun`` run their command once a task,
one after the other, with what the real ones tell a task; ``docker`` runs it in an environment of its own; ``python``,
``torchrun`` and their like write down how they were started. What runs the scripts is the real bash.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

RECORDER = """\
#!/bin/bash
[[ "$1 $2" == "-m torch.distributed.run" ]] && exec torchrun "${@:3}"
file=$(mktemp "${BASH_SOURCE%/*}/../log/XXXXXXXX")
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\1\\0'; env -0; } > "$file"
exit 0
"""

# Starts any program once a GPU, where it is told to.
TORCHRUN = f"""\
#!/bin/bash
while [[ " $* " == *" --no"[-_]"python "* && $# -gt 0 ]]; do
    word=$1; shift
    [[ $word == --no?python ]] || continue
    for rank in 0 1; do LOCAL_RANK=$rank RANK=$rank "$@"; done
    exit
done
{RECORDER}"""

SRUN = """\
#!/bin/bash
nodes=${SLURM_NNODES:-1} tasks=${SLURM_NTASKS:-} each=${SLURM_NTASKS_PER_NODE:-} export=ALL input=/dev/null
while [[ ${1-} == -* ]]; do
    name=${1%%=*} value=${1#*=}
    case $1 in
        --) shift; break ;;
        --*=*) ;;
        -[A-Za-z]?*) name=${1:0:2} value=${1:2} ;;
        -l|-u|-K|-Q|-v|--label|--unbuffered|--overlap|--exact|--exclusive|--kill-on-bad-exit|--no-container-*) ;;
        --container-mount-home|--container-writable) ;;
        *) value=${2-}; shift ;;
    esac
    case $name in
        -N|--nodes) nodes=${value%%-*}; asked=$asked:nodes ;;
        -n|--ntasks) tasks=$value; asked=$asked:tasks ;;
        --ntasks-per-node) each=$value; asked=$asked:each ;;
        -D|--chdir) folder=$value ;;
        --export) export=$value ;;
    esac
    shift
done
if [[ $asked == *each* && $asked != *tasks* ]] || [[ -z $tasks ]]; then tasks=$((nodes * ${each:-1})); fi
[[ -n ${folder-} ]] && { cd "$folder" || exit 1; }
per_node=$(( (tasks + nodes - 1) / nodes ))
[[ -p /dev/stdin || -f /dev/stdin ]] && { input=$(mktemp); cat > "$input"; }
given=()
IFS=, read -ra pairs <<< "$export"
for pair in "${pairs[@]}"; do [[ $pair == *=* ]] && given+=("$pair"); done
only=()
[[ ,$export, == *,ALL,* ]] || only=(-i PATH="$PATH" HOME="$HOME")
for ((task = 0; task < tasks; task++)); do
    env "${only[@]}" "${given[@]}" SLURM_JOB_ID="$SLURM_JOB_ID" SLURM_PROCID=$task SLURM_LOCALID=$((task % per_node)) \\
        SLURM_NODEID=$((task / per_node)) SLURM_NTASKS=$tasks SLURM_STEP_NUM_TASKS=$tasks \\
        SLURM_NNODES="$nodes" SLURMD_NODENAME=node$((task / per_node + 1)) "$@" < "$input" || status=$?
done
exit ${status:-0}
"""

MPIRUN = """\
#!/bin/bash
tasks=1 given=()
while [[ ${1-} == -* ]]; do
    case $1 in
        -np|-n|-c|--np) tasks=$2; shift ;;
        -x) [[ $2 == *=* ]] && given+=("$2"); shift ;;
        --mca|-mca) shift 2 ;;
        --map-by|--bind-to|-H|--host|--hostfile|-N) shift ;;
    esac
    shift
done
for ((task = 0; task < tasks; task++)); do
    env "${given[@]}" OMPI_COMM_WORLD_RANK=$task OMPI_COMM_WORLD_LOCAL_RANK=$((task % 2)) PMIX_RANK=$task \\
        OMPI_COMM_WORLD_SIZE=$tasks PMI_RANK=$task "$@" < /dev/null || status=$?
done
exit ${status:-0}
"""

# Options, then an image or a name, then the command; what is handed over with -e is all it knows.
DOCKER = """\
#!/bin/bash
shift; given=()
while [[ ${1-} == -* ]]; do
    case $1 in
        -e|--env) if [[ $2 == *=* ]]; then given+=("$2"); else given+=("$2=${!2}"); fi; shift ;;
        -e*|--env=*) given+=("${1#*=}") ;;
        -v|-w|--gpus|--name|--network|--ipc|--shm-size|--volume|--workdir|--ulimit) shift ;;
    esac
    shift
done
shift
exec env -i PATH="$PATH" HOME=/root "${given[@]}" "$@"
"""

APPTAINER = """\
#!/bin/bash
shift; given=()
while [[ ${1-} == -* ]]; do
    case $1 in
        --env) IFS=, read -ra some <<< "$2"; given+=("${some[@]}"); shift ;;
        -B|--bind|--pwd|-H|--home) shift ;;
    esac
    shift
done
shift
exec env "${given[@]}" "$@"
"""

# Runs what follows its options, and says in the environment how it was called.
PASSING = """\
#!/bin/bash
options=()
while [[ ${1-} == -* ]]; do options+=("$1"); case $1 in -c|-C|-N|-m) options+=("$2"); shift ;; esac; shift; done
@
export "CALLED_${0##*/}=${options[*]}"
exec "$@"
"""

PROGRAMS = {
    **dict.fromkeys(("python", "python3", "deepspeed"), RECORDER),
    "torchrun": TORCHRUN,
    "srun": SRUN, "mpirun": MPIRUN, "mpiexec": MPIRUN, "docker": DOCKER, "podman": DOCKER,
    "apptainer": APPTAINER, "singularity": APPTAINER, "enroot": APPTAINER,
    "numactl": PASSING.replace("@\n", ""),
    "taskset": PASSING.replace("@\n", 'case "${options[*]}" in *-c*) ;; *) options+=("$1"); shift ;; esac\n'),
    "nsys": PASSING.replace("options=()", "shift; options=()").replace("@\n", ""),
    "scontrol": '#!/bin/bash\nfor ((i = 1; i <= ${SLURM_NNODES:-1}; i++)); do echo node$i; done\n',
    "hostname": '#!/bin/bash\n[ "$1" ] && echo 10.0.0.1 || echo ${SLURMD_NODENAME:-node1}\n',
    "module": "#!/bin/bash\n",
}  # fmt: skip

# What nemo-run and we add, and what every shell sets for itself.
NOT_COMPARED = frozenset(
    "PYTHONUNBUFFERED SLURM_UNBUFFEREDIO TORCHX_MAX_RETRIES PYTHONSAFEPATH _ SHLVL OLDPWD BASHOPTS SHELLOPTS".split()
)


class Task(NamedTuple):
    """One start of a program: its words, and the environment it had."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


class Jobs:
    """Runs batch files and scripts in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in PROGRAMS.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        (folder / ".bash_profile").write_text(f"export PATH={self.bin}:$PATH\n")  # bash -l
        self.environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder), "PWD": str(folder), "LANG": "C"}

    def run(self, text: str, more: Mapping[str, str] | None = None, name: str = "job.sh") -> list[Task]:
        """Every start of a recorder that a script leads to, in an order that does not depend on chance."""
        log = self.folder / "log"
        log.mkdir()
        with tempfile.TemporaryDirectory() as elsewhere:
            script = Path(elsewhere, name)
            script.write_text(text)
            done = subprocess.run(
                ["bash", str(script)],
                cwd=self.folder,
                env={**self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
        try:
            tasks = [self._task(path) for path in log.iterdir()]
        finally:
            shutil.rmtree(log)
        assert tasks, f"nothing was started: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return sorted(tasks, key=lambda task: (task.words, sorted(task.environment.items())))

    def _task(self, path: Path) -> Task:
        words, _, environment = path.read_text().partition("\1\0")
        pairs = (pair.partition("=") for pair in environment.split("\0") if pair)
        return Task(
            tuple(_as_drop_in(words.split("\0")[:-1])),
            {name: value for name, _, value in pairs if name not in NOT_COMPARED},
        )


def told_by_slurm(text: str, folder: Path) -> dict[str, str]:
    """What Slurm tells the batch shell of a job with these ``#SBATCH`` lines."""
    asked: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#SBATCH"):
            words = shlex.split(line[7:], comments=True)
            for word, following in zip(words, [*words[1:], ""], strict=True):
                name, equals, value = word.partition("=")
                if re.match(r"-[Nn]\d", word):
                    name, value = word[:2], word[2:]
                asked[{"-N": "--nodes", "-n": "--ntasks"}.get(name, name)] = value if equals or value else following
    nodes = int(asked.get("--nodes", "1"))
    told = {"SLURM_JOB_ID": "7", "SLURM_JOBID": "7", "SLURM_JOB_NODELIST": f"node[1-{nodes}]", "SLURM_NODEID": "0"}
    told |= {"SLURM_NNODES": str(nodes), "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    told |= {"SLURM_SUBMIT_DIR": str(folder), "SLURMD_NODENAME": "node1"}
    if "--ntasks-per-node" in asked:
        told |= {"SLURM_NTASKS_PER_NODE": asked["--ntasks-per-node"]}
        told["SLURM_NTASKS"] = str(nodes * int(asked["--ntasks-per-node"]))
    if "--ntasks" in asked:
        told["SLURM_NTASKS"] = asked["--ntasks"]
    if "--array" in asked:
        told |= {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "7"}
    return told


def _as_drop_in(words: list[str]) -> list[str]:
    """The same words with the drop-in in place of Megatron-LM's program."""
    made: list[str] = []
    for word in words:
        made += ["-m", "bridge_args.pretrain_gpt"] if word.endswith("pretrain_gpt.py") else [word]
    return made


def environment_of_tests() -> dict[str, str]:
    """What a test process needs to make the files itself."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "TMP", "COV"))}
