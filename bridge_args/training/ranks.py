"""Which rank this process is: what torchrun tells its processes, worked out where nothing has told it."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Final

_HOST: Final = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")  # up to a comma that is not in brackets
_FREE_PORTS: Final = 15000  # Bridge starts there too (megatron/bridge/utils/slurm_utils.py)

_OF_PROGRAMS: Final = range(25000, 32000)  # behind those of steps
_TRIES: Final = 20


def rank_variables(env: Mapping[str, str]) -> dict[str, str]:
    """``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` as far as ``env`` lacks them.

    A process of an ``srun`` step learns them from Slurm's variables, as in ``megatron/bridge/utils/common_utils.py``.
    In a batch script without ``srun`` there is one process, however many tasks the job has; only a step has
    ``SLURM_STEP_ID`` (srun(1), sbatch(1)). So there is where nothing has started several.
    """
    step = "SLURM_STEP_ID" in env and "SLURM_PROCID" in env
    if step and "RANK" not in env:
        found = {
            "RANK": env["SLURM_PROCID"],
            "WORLD_SIZE": env.get("SLURM_STEP_NUM_TASKS") or env.get("SLURM_NTASKS", "1"),
            "LOCAL_RANK": env.get("SLURM_LOCALID", "0"),
            "MASTER_ADDR": _first_host(env),
            "MASTER_PORT": _port_of_step(env),
        }
    else:
        alone = env.get("WORLD_SIZE", "1") == "1"
        found = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
        if alone and "MASTER_PORT" not in env:
            found["MASTER_PORT"] = free_port()
    return {name: value for name, value in found.items() if name not in env}


def _first_host(env: Mapping[str, str]) -> str:
    """The first of ``node[003-004,007],other``: rank 0 is there."""
    names = ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST")
    nodes = next((env[name] for name in names if env.get(name)), "localhost")
    match = _HOST.match(nodes)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", match[0] if match else nodes)


def _port_of_step(env: Mapping[str, str]) -> str:
    """The same on all nodes, and not the same for two jobs or two steps of one that are close to each other."""
    job, step = (int(re.sub(r"\D", "", env.get(name, "")) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return str(_FREE_PORTS + (job + step) % 10000)


def free_port() -> str:
    """One that is free, and not of those that the system hands out by itself (ip(7)): it is used some seconds later.

    Raises:
        OSError: there is none.
    """
    ports = random.SystemRandom().sample(_OF_PROGRAMS, _TRIES)
    for port in (*ports, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("localhost", port))
            return str(probe.getsockname()[1])
    raise OSError("no port is free")


def end_with_launcher(env: Mapping[str, str]) -> None:
    """A rank that torchrun has started ends when torchrun does, even if that is killed without a chance to say so.

    Otherwise the ranks train on, unseen, and a relaunch writes its checkpoints into the same folder.
    """
    if "TORCHELASTIC_RUN_ID" in env:
        end_with_parent()


def end_with_parent() -> None:
    """This process is killed when the one that has started it ends. On Linux only."""
    if sys.platform == "linux":
        import ctypes

        set_signal_at_parents_death = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_signal_at_parents_death, int(signal.SIGKILL))
