"""The real Bridge loads adopted checkpoints on the CPU; what it has in its model is compared with the files.

``Loader().load(FOLDER)``: ``ConfigContainer.from_yaml`` reads the configuration in strict mode, ``load_megatron_model``
builds the model on one rank and fills it. The judge of every number is what ``torch.distributed.checkpoint`` itself
reads from the files. A process imports Bridge once, and every checkpoint is a fork of it.

As a program (``python bridge_loads.py te|apex|local``) it reads a folder a line, and answers with a line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]


class Loader:
    """Loads one checkpoint after the other; the processes behind it start when they are first needed."""

    def __init__(self) -> None:
        self._servers: dict[str, subprocess.Popen[str]] = {}

    def load(self, folder: Path) -> dict[str, Any]:
        """What Bridge has of one iteration: ``error``, or counters, sizes and what differs."""
        from bridge_args.emulation.adapt import stand_ins

        packages = stand_ins(yaml.safe_load((folder / "run_config.yaml").read_text()))
        server = self._server("te" if packages.transformer_engine else "apex" if packages.apex_layer_norm else "local")
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(f"{folder.resolve()}\n")
        server.stdin.flush()
        told: dict[str, Any] = json.loads(server.stdout.readline())
        return told

    def _server(self, kind: str) -> subprocess.Popen[str]:
        if kind not in self._servers:
            self._servers[kind] = subprocess.Popen(
                [sys.executable, __file__, kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("STAGE_LOUD") else subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
            )
        return self._servers[kind]

    def close(self) -> None:
        for server in self._servers.values():
            assert server.stdin is not None and server.stdout is not None
            server.stdin.close()
            server.wait()
            server.stdout.close()
        self._servers.clear()


# ------------------------------------------------------------------------------- the process


def main(kind: str) -> None:
    from bridge_args.emulation import device, placeholders

    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    device.install(transformer_engine=kind == "te", apex_layer_norm=kind == "apex")
    device.prepare_megatron_core()
    with placeholders.absent_packages():
        for name in ("training.config", "training.model_load_save", "training.checkpointing", "models.gpt_provider"):
            importlib.import_module(f"megatron.bridge.{name}")
        importlib.import_module("megatron.bridge.models.mamba.mamba_provider")
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                told = _loaded(Path(line.rstrip("\n")))
            except BaseException as error:
                traceback.print_exc()
                told = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:600]}
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        out.write((said or '{"error": "it died without a word"}') + "\n")


def _loaded(folder: Path) -> dict[str, Any]:
    config = importlib.import_module("megatron.bridge.training.config")
    instantiate = importlib.import_module("megatron.bridge.utils.instantiate_utils")
    loading = importlib.import_module("megatron.bridge.training.model_load_save")
    utils = importlib.import_module("megatron.bridge.training.utils.checkpoint_utils")
    strict = instantiate.InstantiationMode.STRICT
    container = config.ConfigContainer.from_yaml(str(folder / "run_config.yaml"), mode=strict)
    state = utils.read_train_state(str(folder / "train_state.pt"))
    latest = utils.read_train_state(str(folder.parent / "latest_train_state.pt"))
    with loading.temporary_distributed_context(backend="gloo"):
        model = loading.load_megatron_model(str(folder), use_cpu_init=True)
        compared = _compared(model, folder)
    return {
        "error": "",
        "type": type(container.model).__name__,
        "step": state.step,
        "latest": latest.step,
        "consumed_train_samples": state.consumed_train_samples,
        "operations": state.floating_point_operations_so_far,
        **compared,
    }


def _compared(model: list[Any], folder: Path) -> dict[str, Any]:
    """Each part of the model that the checkpoint has, against the bytes that torch reads for it."""
    torch: Any = importlib.import_module("torch")
    mapping = importlib.import_module("megatron.core.dist_checkpointing.mapping")
    utils = importlib.import_module("megatron.core.dist_checkpointing.dict_utils")
    files = read(folder)
    numbers, differing = 0, []
    held: dict[str, int] = {}
    for part in model:
        sharded = part.sharded_state_dict()
        mapping.apply_factories(sharded)
        for tensor in utils.nested_values(sharded):
            if not isinstance(tensor, mapping.ShardedTensor):
                continue
            sizes = (1,) * tensor.prepend_axis_num + tuple(tensor.local_shape)
            place = tuple(slice(o, o + n) for o, n in zip(tensor.global_offset, sizes, strict=True))
            there = files[tensor.key][place].reshape(tensor.data.shape)
            if there.dtype != tensor.data.dtype or not torch.equal(there, tensor.data.detach()):
                differing.append(tensor.key)
            numbers += tensor.data.numel()
            held[tensor.key] = held.get(tensor.key, 0) + tensor.data.numel()
    unread = sorted(name for name, value in files.items() if held.get(name, 0) != value.numel())
    return {"tensors": len(held), "numbers": numbers, "differing": differing, "unread": unread}


def read(folder: Path) -> dict[str, Any]:
    """Every tensor of the model, whole."""
    torch: Any = importlib.import_module("torch")
    checkpoint = importlib.import_module("torch.distributed.checkpoint")
    entries = checkpoint.FileSystemReader(folder).read_metadata().state_dict_metadata
    wanted = {
        name: torch.empty(tuple(entry.size), dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if hasattr(entry, "size") and not name.startswith(("optimizer", "chained"))
    }
    checkpoint.load(wanted, storage_reader=checkpoint.FileSystemReader(folder), no_dist=True)
    return wanted


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1])
