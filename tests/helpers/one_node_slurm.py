"""A Slurm of one's own on this machine: a controller, one node that runs jobs, and more that only exist on paper.

Debian's packages slurmctld, slurmd and munge are enough; they are started as root, in a folder of their own, and
nothing of the system's configuration is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
GPUS = 8  # devices that are none: /dev/null under other names

_CONF = """\
ClusterName=one
SlurmctldHost={host}
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
NodeName=paper[1-7] NodeAddr=127.0.0.2 CPUs=64 Gres=gpu:{gpus} State=CLOUD
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=3600
SuspendExcNodes={host}
PartitionName=batch Nodes={host},paper[1-7] Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why it cannot be started here; empty when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "it is started as root"


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Starts it; gives the environment in which its commands find it."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    os.chmod(folder, 0o755)
    for index in range(GPUS):
        os.mknod(folder / f"gpu{index}", 0o666 | 0o020000, os.makedev(1, 3))
    host = socket.gethostname()
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(host=host, controller=_port(), daemon=_port(), folder=folder, cpus=os.cpu_count(), gpus=GPUS)
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
    (folder / "key").write_bytes(os.urandom(128))
    os.chmod(folder / "key", 0o400)
    env = {**os.environ, "SLURM_CONF": str(conf), "PATH": _path()}
    files = [f"--{name}={folder}/{file}" for name, file in _MUNGE.items()]
    programs = [["munged", "--foreground", "--force", *files], ["slurmctld", "-D", "-c"], ["slurmd", "-D"]]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for program in programs:
            with (folder / f"{program[0]}.out").open("wb") as log:
                started.append(subprocess.Popen(program, env=env, stdout=log, stderr=log))
            _until(program[0], env, folder)
        yield env
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_MUNGE = {
    "socket": "munge.socket",
    "key-file": "key",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munged.seed",
}


def _until(program: str, env: dict[str, str], folder: Path) -> None:
    """Waits until what was started answers."""
    asked = {
        "munged": ["munge", "--no-input", f"--socket={folder}/munge.socket"],
        "slurmctld": ["scontrol", "ping"],
        "slurmd": ["sinfo", "--noheader", "--states=idle", "--format=%N"],
    }[program]
    for _ in range(60):
        done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=30)
        if done.returncode == 0 and done.stdout.strip() and "DOWN" not in done.stdout:
            return
        time.sleep(0.5)
    logs = "".join(path.read_text()[-2000:] for path in folder.glob(f"{program}.*o*") if path.is_file())
    raise RuntimeError(f"{program} does not answer: {done.stdout}{done.stderr}\n{logs}")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
