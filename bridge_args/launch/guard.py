"""What the drop-in puts around Bridge's training loop: its validation in our words, its saves made safe."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bridge_args.bridge import placeholders
from bridge_args.bridge.container import rejection
from bridge_args.launch import checkpoints


class SaveFailed(Exception):
    """A checkpoint could not be written; the message is for the user."""


def mend(run_config: Mapping[str, Any]) -> str:
    """Mends the folder that a run goes on in, before it is loaded from; returns what to tell the user.

    Only its own: what another run has left is not touched.

    Raises:
        OSError: the folder cannot be written to.
    """
    checkpoint = run_config["checkpoint"]
    save, load = checkpoint.get("save"), checkpoint.get("load")
    if not save or not load or "://" in save or Path(save).resolve() != Path(load).resolve():
        return ""
    return checkpoints.mend(Path(save))


def install() -> None:
    """Bridge's modules get the functions of this module in place of their own, which are called by these.

    * Validation raises ``BridgeRejects``, with Bridge's words.
    * A save keeps the old checkpoint of the same iteration until it has ended, and raises ``SaveFailed``.
    * The save at the end of training is left out when that iteration has just been saved, as Megatron-LM does
      (training/training.py ``pretrain``: ``iteration % args.save_interval != 0``). Bridge 0.3.1 saves twice.
    """
    with placeholders.absent_packages():
        pretrain = importlib.import_module("megatron.bridge.training.pretrain")
        train = importlib.import_module("megatron.bridge.training.train")
    setattr(pretrain, "runtime_config_update", _validating(pretrain.runtime_config_update))
    save = _Saves(train.save_checkpoint)
    setattr(train, "save_checkpoint", save)
    setattr(pretrain, "save_checkpoint", save)


def _validating(update: Callable[[Any], None]) -> Callable[[Any], None]:
    def validate(config: Any) -> None:
        try:
            update(config)
        except Exception as error:  # asserts, ValueErrors and RuntimeErrors alike
            raise rejection(error, config) from error

    return validate


class _Saves:
    """Bridge's ``save_checkpoint``, with what goes before and after."""

    def __init__(self, save: Callable[..., None]) -> None:
        self._save = save
        self._saved: tuple[str, int] | None = None

    def __call__(self, state: Any, *args: Any, **kwargs: Any) -> None:
        config, step = state.cfg.checkpoint, state.train_state.step
        if kwargs.get("non_persistent_ckpt") or "://" in config.save:
            self._save(state, *args, **kwargs)
            return
        if self._saved == (config.save, step):
            return
        distributed = importlib.import_module("torch.distributed")
        folder, first = Path(config.save), distributed.get_rank() == 0
        if first:
            checkpoints.make_way(folder, step)
        distributed.barrier()
        self._save(state, *args, **kwargs)
        self._saved = (config.save, step)
        if first and not config.async_save:
            checkpoints.clear_aside(folder)
