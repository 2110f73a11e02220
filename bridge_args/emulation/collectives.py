"""Collectives on the CPU: gloo where the configuration says NCCL, each one finished when the call returns.

NCCL orders work on a stream, so code may drop handles or reuse buffers that a send still reads. Gloo promises
nothing of the kind; executing every collective at once gives one of the orders NCCL allows.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

from bridge_args.emulation.replacement import Replacement

_COLLECTIVES: Final = (
    "all_reduce",
    "reduce",
    "broadcast",
    "all_gather",
    "all_gather_into_tensor",
    "_all_gather_base",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "_reduce_scatter_base",
    "all_to_all",
    "all_to_all_single",
)


class Done:
    """Handle of a collective that has already finished."""

    def wait(self, *args: object, **kwargs: object) -> bool:
        return True

    def is_completed(self) -> bool:
        return True


def install() -> tuple[Replacement, ...]:
    """Patches ``torch.distributed``; the configuration keeps saying ``nccl``."""
    dist = importlib.import_module("torch.distributed")
    patched: dict[str, Any] = {name: _at_once(getattr(dist, name), dist) for name in _COLLECTIVES}
    for name in ("init_process_group", "new_group"):
        patched[name] = _with_gloo(getattr(dist, name))
    patched["isend"] = _send_a_copy(dist.isend)
    patched["barrier"] = _barrier(dist.barrier)
    patched["_coalescing_manager"] = _coalescing_manager
    for name, function in patched.items():
        for module in (dist, dist.distributed_c10d):
            setattr(module, name, function)
    return (Replacement("NCCL", "gloo, every collective finished at once", "nothing overlaps"),)


def _with_gloo(function: Callable[..., Any]) -> Callable[..., Any]:
    """Process groups of the gloo backend; what only NCCL understands is left out."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        if given.get("backend") not in (None, "fake"):
            given["backend"] = "gloo"
        for name in ("pg_options", "device_id"):
            given.pop(name, None)
        return function(**given)

    return wrapper


def _at_once(function: Callable[..., Any], dist: Any) -> Callable[..., Any]:
    """The collective runs now; an asynchronous call gets a finished handle. Gloo cannot average: sum, then divide."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Done | None:
        given = signature.bind(*args, **kwargs).arguments
        asynchronous = given.pop("async_op", False)
        average = given.get("op") == dist.ReduceOp.AVG
        if average:
            given["op"] = dist.ReduceOp.SUM
        function(**given)
        if average:
            result = next(iter(given.values()))  # the first parameter is where the result goes
            result.div_(dist.get_world_size(given.get("group")))
        return Done() if asynchronous else None

    return wrapper


def _send_a_copy(isend: Callable[..., Any]) -> Callable[..., Any]:
    """Pipeline schedules free or reuse a buffer while it is being sent, which is safe on a stream only."""

    @functools.wraps(isend)
    def wrapper(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return isend(tensor.detach().clone(), *args, **kwargs)

    return wrapper


def _barrier(barrier: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(barrier)
    def wrapper(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Done | None:
        barrier(group=group)
        return Done() if async_op else None

    return wrapper


@contextlib.contextmanager
def _coalescing_manager(group: Any = None, device: Any = None, async_ops: bool = False) -> Iterator[Done]:
    """Gloo has no coalescing; the calls inside just run."""
    yield Done()
