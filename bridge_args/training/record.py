"""What is recorded of every iteration and evaluation; Megatron-LM's loop and Bridge's are recorded alike."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from bridge_args import foreign
from bridge_args.emulation import placeholders

Record = dict[str, Any]


def record(receive: Callable[[Record], None]) -> None:
    """From now on, hands every training iteration and evaluation of Bridge's loop to ``receive``.

    An iteration has ``iteration``, ``lm_loss``, ``grad_norm`` (before clipping), ``learning_rate``,
    ``global_batch_size`` and ``consumed_samples`` (samples), ``loss_scale``, ``skipped`` (0 or 1) and, where there
    are any, ``aux`` (MoE and multi-token-prediction losses by name); an evaluation ``split``, ``iteration``,
    ``lm_loss``. Numbers have every bit of the tensor they come from.

    Bridge's log line averages the loss since the last line; this is the loss of the step, taken where the training
    loop hands it to ``training_log``.
    """
    aux: dict[str, Any] = {}
    with placeholders.absent_packages():
        log, evaluate = foreign.TRAINING_LOG.get(), foreign.EVALUATE.get()
        watch_scalars(foreign.MOE_METRICS, foreign.MTP_METRICS, aux)
    microbatches = foreign.MICROBATCHES.get()
    signature = inspect.signature(log)

    def training_log(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        config, state = given["config"], given["global_state"].train_state
        samples = config.train.micro_batch_size * config.data_parallel_size * microbatches()
        entry = step_record(given, state.step, samples, state.consumed_train_samples)
        aux.clear()
        result = log(*args, **kwargs)
        receive({**entry, "aux": dict(sorted(aux.items()))} if aux else entry)
        return result

    def evaluate_(state: Any, *args: Any, **kwargs: Any) -> Any:
        result = evaluate(state, *args, **kwargs)
        split = "test" if kwargs.get("is_test") else "valid"
        loss = number((result[0] or {}).get("lm loss"))
        receive({"split": split, "iteration": state.train_state.step, "lm_loss": loss})
        return result

    foreign.TRAINING_LOG.put(training_log)
    foreign.EVALUATE.put(evaluate_)


def step_record(given: Mapping[str, Any], iteration: int, samples: int, consumed: int) -> Record:
    """The record of one iteration, without ``aux``.

    Args:
        given: what ``training_log`` was called with; Megatron-LM and Bridge call these by the same names.
        samples, consumed: in this step, and up to its end.
    """
    return {
        "iteration": iteration,
        "lm_loss": number((given["loss_dict"] or {}).get("lm loss")),
        "grad_norm": number(given["grad_norm"]),
        "learning_rate": number(given["learning_rate"]),
        "global_batch_size": samples,
        "consumed_samples": consumed,
        "loss_scale": number(given["loss_scale"]),
        "skipped": int(given["skipped_iter"]),
    }


def number(value: Any) -> float | str | None:
    """A float with every bit of the tensor it came from; JSON has no NaN, so that is the word."""
    if value is None:
        return None
    if hasattr(value, "item"):
        value = value.float().sum().item() if getattr(value, "dim", lambda: 0)() else value.item()
    value = float(value)
    return value if math.isfinite(value) else repr(value)


class _Scalars:
    """Stands in for a TensorBoard writer: remembers scalars, and passes everything on to the writer if there is one."""

    def __init__(self, writer: Any, seen: dict[str, Any]) -> None:
        self._writer, self._seen = writer, seen

    def add_scalar(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self._seen[name] = number(value)
        if self._writer is not None:
            self._writer.add_scalar(name, value, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def watch_scalars(moe: foreign.Foreign, mtp: foreign.Foreign, seen: dict[str, Any]) -> None:
    """MoE and multi-token-prediction losses are handed only to the writer."""

    def watched(function: Any) -> Any:
        signature = inspect.signature(function)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.arguments["writer"] = _Scalars(bound.arguments.get("writer"), seen)
            return function(*bound.args, **bound.kwargs)

        return wrapper

    moe.hook(watched)
    mtp.hook(watched)
