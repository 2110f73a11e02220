"""Training on a machine without a GPU: Bridge and Megatron Core run unmodified, ``torch.cuda`` is emulated.

``install()`` is called in a fresh process before torch is imported. It answers, on the CPU, the few questions the
training loop asks of CUDA; the numerics are those of PyTorch's eager CPU kernels, and given the same configuration
the same bits come out on every run. It returns what it replaced, so that the user can be told.

The parts, each in its own module: this one (environment, devices, streams, random numbers), ``collectives``
(gloo in place of NCCL), ``kernels`` (compiled extensions) and ``transformer_engine``.

Not emulated, and switched off or refused before it comes to this (``emulation/adapt.py``): fp8 and fp4, CUDA graphs,
FSDP, tensor-parallel communication overlap. Time and memory figures mean nothing here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import types
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.emulation import placeholders
from bridge_args.emulation.placeholders import CAPABILITY
from bridge_args.emulation.replacement import Replacement

# Set when absent: a single process, unless a launcher says otherwise, and the variable that Megatron Core asserts
# for tensor and context parallelism.
_PROCESS: Final = {
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",  # any that is free; a process that is alone need not tell it to another
    "CUDA_DEVICE_MAX_CONNECTIONS": "1",
}

# Set always: the same bits on every run and on every x86-64 machine. One thread and one instruction set fix the
# order in which sums are taken; torchrun presets OMP_NUM_THREADS, so a default would not do. Without TorchScript
# the Python definitions of the fused functions run.
REPRODUCIBLE: Final = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "PYTORCH_JIT": "0",
}

_MEMORY = 80 << 30  # bytes the emulated device claims to have


_installed: tuple[Replacement, ...] | None = None


def install(*, transformer_engine: bool = False, apex_layer_norm: bool = False) -> tuple[Replacement, ...]:
    """Emulates CUDA on the CPU for the rest of this process.

    Args:
        transformer_engine: also stand in for Transformer Engine where it is not installed; it changes which
            layers Megatron Core builds, so the configuration decides.
        apex_layer_norm: also stand in for Apex's fused layer norm, likewise.

    Returns:
        What was replaced. A second call changes nothing and returns the same.

    Raises:
        RuntimeError: torch is already imported; its thread and instruction set can no longer be chosen.
    """
    global _installed
    if _installed is not None:
        return _installed
    _set_environment()
    torch: Any = importlib.import_module("torch")
    # torch._dynamo builds a table of all torch functions at import, and refuses one function under two names, which
    # is what the patches below look like: it must see the originals.
    importlib.import_module("torch._dynamo")
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False
    # Megatron Core's jit_fuser is torch.compile; the undecorated function computes the same
    torch.compile = lambda function=None, *args, **kwargs: function if function is not None else (lambda f: f)

    from bridge_args.emulation import collectives
    from bridge_args.emulation import kernels as cpu_kernels
    from bridge_args.emulation import transformer_engine as cpu_transformer_engine

    host = torch.Generator()
    _patch_cuda_module(torch)
    _patch_tensor_types(torch)
    _patch_random_numbers(torch, host)
    replaced = [
        Replacement("GPU", "the CPU, one thread per rank", "timings and memory figures mean nothing"),
        Replacement("torch.compile and TorchScript", "the undecorated Python functions"),
        *collectives.install(),
    ]
    if transformer_engine:
        replaced += cpu_transformer_engine.install()
    replaced += cpu_kernels.install(apex_layer_norm=apex_layer_norm)
    _device_mode(torch, host).__enter__()
    _installed = tuple(replaced)
    return _installed


def prepare_megatron_core() -> None:
    """After ``install``: imports Megatron Core and mends the few spots that need it without a GPU."""
    from bridge_args.emulation import kernels as cpu_kernels

    with placeholders.absent_packages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Apex is not installed" and the like, once per module
        cpu_kernels.patch_megatron_core()


def _set_environment() -> None:
    if "torch" in sys.modules:
        raise RuntimeError("the emulation must be installed before torch is imported")
    for name, value in _PROCESS.items():
        os.environ.setdefault(name, value)
    os.environ.update(REPRODUCIBLE)


# --------------------------------------------------------------------------------- devices


def _device_mode(torch: Any, host: Any) -> Any:
    """A mode that sees every torch call and sends to the CPU whatever is addressed to ``cuda``.

    One mode instead of wrappers around each factory function. It is thread-local; the CPU autograd engine carries
    it into backward, so recomputation works.
    """
    mode: Any = importlib.import_module("torch.overrides").TorchFunctionMode
    cpu, tensor = torch.device("cpu"), torch.Tensor
    is_cuda = tensor.is_cuda.__get__  # a new object at every access: compared with ==

    def on_cuda(device: object) -> bool:
        if isinstance(device, torch.device):
            return bool(device.type == "cuda")
        return isinstance(device, str) and device.startswith("cuda") or type(device) is int

    class CudaOnCpu(mode):  # type: ignore[misc]  # looked up at run time
        def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func in (tensor.cuda, tensor.pin_memory):
                return args[0]
            if on_cuda(kwargs.get("device")):
                kwargs["device"] = cpu
            if kwargs.get("pin_memory"):
                kwargs["pin_memory"] = False
            if func is torch.device and args and type(args[0]) is int:
                args = ("cuda", *args)  # a number is one of the accelerator's
            elif func is tensor.to and len(args) > 1 and on_cuda(args[1]):
                args = (args[0], cpu, *args[2:])
            elif func is tensor.type and len(args) == 1 and not kwargs:
                # the mixed-precision optimizers sort parameters by the name "torch.cuda.HalfTensor"
                return func(*args).replace("torch.", "torch.cuda.")
            elif func is tensor.random_ and kwargs.get("generator") is None:
                # a DataLoader draws its base seed so; on a GPU machine that does not move the device's generator
                kwargs["generator"] = host
            elif type(func) is types.MethodWrapperType and func == is_cuda:
                return True  # the MoE dispatcher asks whether split sizes must come to the host
            return func(*args, **kwargs)

    return CudaOnCpu()


# ----------------------------------------------------------------------- streams, events, questions


class _Stream:
    """Work on the CPU is done when the call returns, which is one order that streams allow."""

    cuda_stream = 0
    stream_id = 0
    device_index = 0

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def wait_stream(self, other: object) -> None: ...
    def wait_event(self, event: object) -> None: ...
    def synchronize(self) -> None: ...

    def record_event(self, event: _Event | None = None) -> _Event:
        event = event or _Event()
        event.record()
        return event

    def query(self) -> bool:
        return True

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *exception: object) -> None: ...


class _Event:
    """Keeps the host's time, in seconds."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.time = 0.0

    def record(self, stream: object = None) -> None:
        self.time = time.perf_counter()

    def wait(self, stream: object = None) -> None: ...
    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: _Event) -> float:
        return (end.time - self.time) * 1e3  # milliseconds


class _Properties:
    name = "CPU in place of a GPU"
    major, minor = CAPABILITY
    multi_processor_count = 1
    total_memory = _MEMORY


@contextlib.contextmanager
def _device_context(device: object = None) -> Iterator[None]:
    yield


def _nothing(*args: object, **kwargs: object) -> None: ...


def _always(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _patch_cuda_module(torch: Any) -> None:
    """``torch.cuda`` as the training loop uses it."""
    cuda, stream = torch.cuda, _Stream()
    answers: dict[str, Any] = {
        "is_available": _always(True),
        "is_initialized": _always(True),
        "device_count": _always(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))),
        # a device, not a number: a number reaches `with torch.device(number):`, which a CPU build refuses
        "current_device": _always(torch.device("cpu")),
        "get_device_capability": _always(CAPABILITY),
        "get_device_name": _always(_Properties.name),
        "get_device_properties": _always(_Properties()),
        "mem_get_info": _always((_MEMORY, _MEMORY)),
        "memory_stats": lambda *args, **kwargs: defaultdict(int),
        "device": _device_context,
        "Stream": _Stream,
        "Event": _Event,
        "current_stream": _always(stream),
        "default_stream": _always(stream),
        "stream": lambda s: contextlib.nullcontext(),
        "_lazy_call": lambda function, **kwargs: function(),  # a CPU build would queue it forever
    }
    for name in ("_lazy_init", "set_device", "synchronize", "empty_cache", "ipc_collect", "reset_peak_memory_stats"):
        answers[name] = _nothing
    for name in ("memory_allocated", "memory_reserved", "device_memory_used"):
        answers[name] = _always(0)
    for name in ("max_memory_allocated", "max_memory_reserved"):
        answers[name] = _always(0)
    answers["set_stream"] = _nothing
    for name, answer in answers.items():
        setattr(cuda, name, answer)
    if hasattr(torch, "accelerator"):  # a DataLoader of a CUDA build would pin memory, which wants a driver
        torch.accelerator.is_available = _always(False)
    cuda.nvtx.range_push = cuda.nvtx.range_pop = cuda.nvtx.mark = _nothing
    torch.Tensor.record_stream = _nothing  # its C++ parser wants a real stream


def _patch_tensor_types(torch: Any) -> None:
    """``torch.cuda.FloatTensor`` and its like are constructors that raise on a CPU build."""
    for name in ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool"):
        setattr(torch.cuda, f"{name}Tensor", getattr(torch, f"{name}Tensor"))


# --------------------------------------------------------------------------- random numbers


def _patch_random_numbers(torch: Any, host: Any) -> None:
    """Two streams of random numbers, as on a GPU machine.

    All compute (weights, dropout, jitter) draws from PyTorch's default generator, which therefore plays the
    device's; ``host`` plays the generator of the host. Where code draws from the host's explicitly, dropout is not
    moved by it. With one generator for both, creating a DataLoader would change dropout.
    """
    device = torch.default_generator
    host.manual_seed(device.initial_seed())

    def seed_both(seed: Any) -> Any:
        host.manual_seed(int(seed))
        device.manual_seed(int(seed))
        return host

    def seed_device(seed: Any) -> None:
        device.manual_seed(int(seed))

    for module in (torch, torch.random):
        module.manual_seed = seed_both
        module.get_rng_state = lambda: host.get_state()
        module.set_rng_state = lambda state: host.set_state(state)
        module.initial_seed = host.initial_seed
    for module in (torch.cuda, torch.cuda.random):
        module.manual_seed = module.manual_seed_all = seed_device
        module.get_rng_state = lambda *args, **kwargs: device.get_state()
        module.set_rng_state = lambda state, *args, **kwargs: device.set_state(state)
        module.initial_seed = device.initial_seed
    torch.cuda.default_generators = _Generators((device,))


class _Generators(tuple[Any, ...]):
    """Indexed by whatever ``current_device()`` returned, there is one device."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(0)
