"""Which variables that a script exports reach a rehearsal or a verification: those known to change how a run computes.

Everything else stays away, because a variable can load a library (``LD_PRELOAD``, ``NCCL_NET_PLUGIN``), name a program
(``TRITON_PTXAS_PATH``), write a file (``NCCL_DEBUG_FILE``), or belong to another machine (``NCCL_SOCKET_IFNAME``).
``launch`` and the drop-in are the run itself, and get them all.

See the environment variables in the documentation of NCCL, CUDA, cuBLAS, PyTorch, Transformer Engine and OpenMP, and
what Megatron Core and Bridge read (``grep -r environ``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_NAMES: Final = frozenset(
    "CUDA_DEVICE_MAX_CONNECTIONS CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUDA_MODULE_LOADING CUDA_VISIBLE_DEVICES "
    "CUDA_GRAPH_CAPTURE_FREEZE_GC CUDA_DISABLE_PTX_JIT CUDA_FORCE_PTX_JIT CUDA_SCALE_LAUNCH_QUEUES "
    "CUDNN_ALLOW_TF32 CUBLAS_WORKSPACE_CONFIG CUBLASLT_WORKSPACE_SIZE NVIDIA_TF32_OVERRIDE "
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_CUDNN_V8_API_DISABLED TORCH_CPP_LOG_LEVEL TORCH_SHOW_CPP_STACKTRACES "
    "TORCH_DISTRIBUTED_DEBUG TORCH_COMPILE_DISABLE TORCHDYNAMO_DISABLE PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF "
    "PYTORCH_NO_CUDA_MEMORY_CACHING PYTORCH_JIT UB_SKIPMC UB_TIMEOUT "
    "OMP_NUM_THREADS OMP_PROC_BIND OMP_PLACES OMP_DYNAMIC OMP_WAIT_POLICY OMP_SCHEDULE "
    "MKL_NUM_THREADS MKL_DYNAMIC MKL_CBWR OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS KMP_AFFINITY KMP_BLOCKTIME "
    "HF_HUB_OFFLINE HF_DATASETS_OFFLINE TRANSFORMERS_OFFLINE TOKENIZERS_PARALLELISM TRANSFORMERS_VERBOSITY "
    "MEGATRON_LOGGING_LEVEL MEGATRON_BRIDGE_LOGGING_LEVEL MEGATRON_SUPPRESS_FUSION_WARNINGS HYDRA_FULL_ERROR "
    "TF_CPP_MIN_LOG_LEVEL WANDB_MODE WANDB_DISABLED WANDB_SILENT".split()
)
_FAMILIES: Final = ("NCCL_", "NVTE_", "TORCH_NCCL_")
# Of these families, what names code, a file, a machine or somebody else's process.
_NEVER: Final = re.compile(
    r"(^|_)(FILE|FILENAME|FILES|PATH|PATHS|DIR|DIRS|DIRECTORY|ROOT|HOME|CACHE|DUMP|DUMPS|LOG|LOGS|LOGGING|TRACE|PIPE|PLUGIN|"
    r"PLUGINS|LIB|LIBS|LIBRARY|LIBRARIES|SO|CONF|CONFIG|EXEC|CMD|COMMAND|HOOK|TUNER|PROFILER|INSPECTOR|RAS|ENV|GIN|"
    r"TOPO|GRAPH_FILE|ADDR|ID|HOSTID|IFNAME|PORT|RANGE|TOKEN|KEY|SECRET|PASSWORD)(_|$)"
)
# Whoever starts the processes says these itself; nobody misses them.
LAUNCHER: Final = frozenset(
    "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK NODE_RANK MASTER_ADDR MASTER_PORT "
    "SLURM_NTASKS SLURM_PROCID SLURM_LOCALID".split()
)

# Variables of the user's own session under which libraries write: to a folder of the rehearsal's, named here.
_FOLDERS: Final = {
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_COMPILE_DEBUG_DIR": "compile_debug",
    "TORCH_EXTENSIONS_DIR": "extensions",
    "MEGATRON_CONFIG_LOCK_DIR": "locks",
    "NEMO_HOME": "nemo",
    "WANDB_DIR": "wandb",
    "WANDB_DATA_DIR": "wandb",
    "WANDB_CACHE_DIR": "wandb",
}
# Those that name a file to write to; without them the library writes none.
_FILES: Final = frozenset(
    "NCCL_DEBUG_FILE NCCL_TOPO_DUMP_FILE NCCL_GRAPH_DUMP_FILE NCCL_INSPECTOR_DUMP_DIR CUBLAS_LOGDEST_DBG "
    "CUBLASLT_LOG_FILE CUDNN_LOGDEST_DBG TORCH_TRACE TORCH_LOGS_OUT TORCH_NCCL_DEBUG_INFO_TEMP_FILE "
    "TORCH_NCCL_DEBUG_INFO_PIPE_FILE TORCHELASTIC_ERROR_FILE KINETO_CONFIG NVTE_DEBUG_LOG_DIR".split()
)


def passed_on(of_the_run: Mapping[str, str]) -> dict[str, str]:
    """Those variables of a script that its rehearsal gets."""
    return {name: value for name, value in of_the_run.items() if _is_known(name) and "/" not in value}


def kept_away(of_the_run: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the others, sorted, without those that every launcher sets anew."""
    return tuple(sorted(of_the_run.keys() - passed_on(of_the_run).keys() - LAUNCHER))


def said(names: Iterable[str]) -> str:
    """What the user is told of those that stay away; empty where there are none."""
    listed = ", ".join(names)
    return f"not passed on, because they may load, write or belong elsewhere: {listed}" if listed else ""


def _is_known(name: str) -> bool:
    return name in _NAMES or (name.startswith(_FAMILIES) and _NEVER.search(name) is None)


def of_this_session(variables: Mapping[str, str], folder: str | None) -> dict[str, str]:
    """The variables of the user's own session for a rehearsal; what libraries write goes to ``folder``.

    Args:
        folder: the rehearsal's own; None: libraries write where they do in a run.
    """
    kept = {name: value for name, value in variables.items() if name not in LAUNCHER}
    if folder is None:
        return kept
    kept = {name: value for name, value in kept.items() if name not in _FILES}
    return kept | {name: f"{folder}/{leaf}" for name, leaf in _FOLDERS.items()}
