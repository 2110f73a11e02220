"""What a training process starts from, written down: settings, initial weights, first batches.

Megatron-LM's program and Bridge's loop both train with objects of Megatron Core. ``watch`` looks at those objects, so
that what it writes can be compared between the two without knowing either program's own configuration. Each rank
appends JSON lines to a file of its own:

* ``{"settings": {"model": {...}, "optimizer": {...}, ...}}``: fields of the objects that train; one line per section
* ``{"weights": {name: [shape, dtype, SHA-256 of the bytes]}}``: this rank's parameters and buffers, after any loading
* ``{"batch": {name: [shape, dtype, SHA-256]}}``: one microbatch as the data iterator hands it out, the first few
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import importlib
import json
import math
import os
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args import foreign

BATCHES: Final = 8  # microbatches of each rank that are written down

# Fields that hold objects of the process, not choices; comparing their text would compare addresses.
_NOT_CHOICES: Final = frozenset({"timers", "tokenizer", "param_groups", "optimizer", "mock_tokenizer"})

# What GPTModel keeps beside its TransformerConfig. Verify: megatron/core/models/gpt/gpt_model.py, __init__.
_OF_THE_MODEL: Final = (
    "vocab_size",
    "max_sequence_length",
    "parallel_output",
    "share_embeddings_and_output_weights",
    "position_embedding_type",
    "fp16_lm_cross_entropy",
)
_OF_ROTARY: Final = ("rotary_interleaved", "seq_len_interpolation_factor")


def watch(folder: Path) -> Watcher:
    """From now on, writes what this process trains with to ``folder/rank<N>.jsonl``.

    Hooks Megatron Core's data iterator and data set builder; the program's own hook hands over model, optimizer and
    scheduler (``Watcher.built``) when they exist.
    """
    watcher = Watcher(folder / f"rank{int(os.environ['RANK'])}.jsonl")
    _watch_batches(watcher)
    _watch_datasets(watcher)
    _watch_parameters(watcher)
    return watcher


class Watcher:
    """Appends what it is given to one file, a JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: list[Any] = []
        self._model: Any = None

    def write(self, entry: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

    def built(self, model: Any, optimizer: Any, scheduler: Any) -> None:
        """Model (chunks, or one), optimizer and scheduler as training starts with them, any checkpoint loaded."""
        chunks = list(model) if isinstance(model, (list, tuple)) else [model]
        self._model = chunks[0]
        for section, settings in _settings_of(chunks, optimizer, scheduler):
            self.write({"settings": {section: settings}})
        self.write({"weights": dict(_weights(chunks))})

    def program(self, settings: Mapping[str, Any]) -> None:
        """Settings of the loop that no object of Megatron Core has."""
        self.write({"settings": {"loop": {name: described(value) for name, value in settings.items()}}})

    def parameters(self, chunks: Any, groups: Any) -> None:
        """What the optimizer is told of each parameter, as all groups are made: whether it decays, its rates."""
        found = [pair for chunk in chunks for pair in chunk.named_parameters()]
        names = {id(parameter): _bare_name(name) for name, parameter in found}
        told = {
            names.get(id(parameter), "?"): {key: described(value) for key, value in group.items() if key != "params"}
            for group in groups
            for parameter in group["params"]
        }
        self.write({"settings": {"parameters": told}})

    def dataset(self, config: Any, sizes: Any) -> None:
        """A data set's configuration, and the samples asked for of training, validation and test."""
        settings = dict(described(config))
        tokenizer = getattr(config, "tokenizer", None)
        if tokenizer is not None:
            settings["vocab_size"] = getattr(tokenizer, "vocab_size", None)
            settings["eod"] = getattr(tokenizer, "eod", None)
        self.write({"settings": {"dataset": settings, "samples": dict(enumerate(described(sizes)))}})

    def batch(self, batch: Any) -> None:
        """One microbatch. Virtual stages fetch each once more, in an order of their own: every one is written once.

        Those of evaluations are left out: Bridge reads its validation set in an order of its own.
        """
        training = self._model is None or self._model.training
        if training and len(self._batches) < BATCHES and isinstance(batch, Mapping):
            found = {name: fingerprint(value) for name, value in sorted(batch.items())}
            if found not in self._batches:
                self._batches.append(found)
                self.write({"batch": found})


# ------------------------------------------------------------------------------------- hooks


def _watch_batches(watcher: Watcher) -> None:
    following = foreign.NEXT_BATCH.get()

    @functools.wraps(following)
    def next_(self: Any) -> Any:
        batch = following(self)
        watcher.batch(batch)
        return batch

    foreign.NEXT_BATCH.put(next_)


def _watch_datasets(watcher: Watcher) -> None:
    make = foreign.MAKE_DATASETS.get()

    @functools.wraps(make)
    def init(self: Any, cls: Any, sizes: Any, is_built_on_rank: Any, config: Any, *rest: Any, **more: Any) -> None:
        watcher.dataset(config, sizes)
        make(self, cls, sizes, is_built_on_rank, config, *rest, **more)

    foreign.MAKE_DATASETS.put(init)


def _watch_parameters(watcher: Watcher) -> None:
    def watched(divide: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(divide)
        def divided(chunks: Any, *rest: Any, **more: Any) -> Any:
            groups = divide(chunks, *rest, **more)
            watcher.parameters(chunks, groups)
            return groups

        return divided

    foreign.PARAMETER_GROUPS.hook(watched)


# ---------------------------------------------------------------------------------- settings


def _settings_of(chunks: list[Any], optimizer: Any, scheduler: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    bare = [foreign.UNWRAP_MODEL.get()(chunk) for chunk in chunks]
    yield "model", {**described(foreign.MODEL_CONFIG.get()(chunks[0])), **_of_the_model(bare)}
    yield "layers", {str(index): _layers(chunk) for index, chunk in enumerate(bare)}
    ddp = getattr(chunks[0], "ddp_config", None)
    if ddp is not None:
        yield "ddp", described(ddp)
    if optimizer is not None:
        members = getattr(optimizer, "chained_optimizers", None) or [optimizer]
        config = getattr(optimizer, "config", None) or getattr(members[0], "config", None)
        yield "optimizer", described(config) if config is not None else {}
        yield "parameter groups", dict(_parameter_groups(members))
    if scheduler is not None:
        yield "scheduler", {name: described(value) for name, value in vars(scheduler).items() if name != "optimizer"}
    yield "parallel", _parallel()
    yield "batch", _batch()


def _of_the_model(bare: list[Any]) -> dict[str, Any]:
    """Of all chunks: the first stage has the embedding's attributes, the last the output's."""
    found: dict[str, Any] = {}
    for chunk in bare:
        found.update((name, described(getattr(chunk, name))) for name in _OF_THE_MODEL if hasattr(chunk, name))
        rotary = getattr(chunk, "rotary_pos_emb", None)
        found.update((name, described(getattr(rotary, name))) for name in _OF_ROTARY if hasattr(rotary, name))
        frequencies = getattr(rotary, "inv_freq", None)  # rotary base, percent and scaling, in what they result in
        if frequencies is not None:
            found["rotary_frequencies"] = fingerprint(frequencies)
    return found


def _layers(chunk: Any) -> str:
    """The classes of all modules, in order: what the layer specification came to."""
    lines = [f"{name}: {type(module).__module__}.{type(module).__qualname__}" for name, module in chunk.named_modules()]
    return "\n".join(lines)


def _parameter_groups(members: list[Any]) -> Iterator[tuple[str, Any]]:
    """Per optimizer and group: its multipliers, and how many parameters it holds."""
    index = 0
    for member in members:
        for group in getattr(member, "param_groups", None) or ():
            for name, value in group.items():
                if name != "params":
                    yield f"{index}.{name}", described(value)
            yield f"{index}.parameters", sum(parameter.numel() for parameter in group["params"])
            index += 1


def _parallel() -> dict[str, Any]:
    state = importlib.import_module("megatron.core.parallel_state")
    questions = {
        "tensor_model_parallel_size": state.get_tensor_model_parallel_world_size,
        "pipeline_model_parallel_size": state.get_pipeline_model_parallel_world_size,
        "virtual_pipeline_model_parallel_size": state.get_virtual_pipeline_model_parallel_world_size,
        "context_parallel_size": state.get_context_parallel_world_size,
        "expert_model_parallel_size": state.get_expert_model_parallel_world_size,
        "expert_tensor_parallel_size": state.get_expert_tensor_parallel_world_size,
        "data_parallel_size": state.get_data_parallel_world_size,
    }
    return {name: question() for name, question in questions.items()}


def _batch() -> dict[str, Any]:
    return {
        "global_batch_size": foreign.GLOBAL_BATCH_SIZE.get()(),
        "micro_batch_size": foreign.MICRO_BATCH_SIZE.get()(),
        "microbatches": foreign.MICROBATCHES.get()(),
    }


def described(value: Any) -> Any:
    """A setting as JSON, the same for the same choice in every process: types, functions and objects by their names."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, functools.partial):
        return {"partial": described(value.func), "of": [described(value.args), described(value.keywords)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in _NOT_CHOICES]
        return {name: described(getattr(value, name)) for name in names if hasattr(value, name)}
    if isinstance(value, Mapping):
        return {str(described(key)): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(described(item)) for item in value)
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return _function(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value).__module__ == "torch" and hasattr(value, "dtype") and hasattr(value, "numel"):
        return fingerprint(value)
    text = str(value)
    return text if text.startswith("torch.") else f"{type(value).__module__}.{type(value).__qualname__}"


def _function(function: Callable[..., Any]) -> Any:
    """Its name and, of a closure, the plain values it carries: ``init_method_normal(0.02)`` differs from (0.03)."""
    inner: Any = getattr(function, "__func__", function)
    name = f"{inner.__module__}.{inner.__qualname__}"
    cells = [cell.cell_contents for cell in inner.__closure__ or ()]
    plain = [cell for cell in cells if isinstance(cell, (bool, int, float, str))]
    return f"{name}({', '.join(map(repr, plain))})" if plain else name


# ------------------------------------------------------------------------------ weights, batches


def _weights(chunks: list[Any]) -> Iterator[tuple[str, Any]]:
    for index, chunk in enumerate(chunks):
        prefix = f"{index}." if len(chunks) > 1 else ""
        for source in (chunk.named_parameters(), chunk.named_buffers()):
            for name, tensor in source:
                yield prefix + _bare_name(name), fingerprint(tensor)


def _bare_name(name: str) -> str:
    """Without the wrappers of precision and data parallelism."""
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def fingerprint(value: Any) -> Any:
    """Shape, type and SHA-256 of a tensor's bytes; the description of anything else."""
    if not (hasattr(value, "detach") and hasattr(value, "numel")):
        return described(value)
    torch = importlib.import_module("torch")
    tensor = value.detach().cpu().contiguous()
    digest = hashlib.sha256(tensor.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
    return [list(value.shape), str(value.dtype), digest]
