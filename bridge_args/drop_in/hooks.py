"""What the drop-in puts around Bridge's training loop: its validation in our words, its saves made safe."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import shutil
from collections.abc import Callable
from errno import EACCES, EDQUOT, EFBIG, EIO, ENOENT, ENOSPC, ENOTCONN, ENOTDIR, EPERM, EROFS, ESTALE
from pathlib import Path
from typing import Any, Final

from bridge_args import foreign
from bridge_args.checkpoint import layout
from bridge_args.checkpoint import mend as checkpoints
from bridge_args.emulation import placeholders
from bridge_args.errors import UserError
from bridge_args.training.container import rejection

_OF_A_DISK: Final = (ENOSPC, EDQUOT, EFBIG, EIO, EROFS, EACCES, EPERM, ENOENT, ENOTDIR, ESTALE, ENOTCONN)
_NO_REASON: Final = "the file could not be written"
# What torch.save says of a full disk, depending on where in the file it was met: in a tensor, after one (then what the
# system said is only the context, which an error from another rank has lost), or at a path. Core 0.17 names a class.
_UNSAID: Final = re.compile(
    r"PytorchStreamWriter failed|inline_container\.cc:\d+\] \. unexpected pos"
    r"|^basic_ios::clear|error: <class 'OSError'>$"
)


class SaveFailed(UserError):
    """A checkpoint could not be written; the message is for the user, and empty where another rank has the reason."""


def install(say: Callable[[str], None]) -> None:
    """Bridge's modules get the functions of this module in place of their own, which are called by these.

    * Validation raises ``BridgeRejects``, with Bridge's words.
    * Before a run goes on in its folder of checkpoints, that is mended, and what was done is said by rank 0.
    * The handler of ``--exit-signal-handler`` is installed.
    * A save keeps the old checkpoint of the same iteration until it has ended, and raises ``SaveFailed``.
    * The save at the end of training is left out when that iteration has just been saved, as Megatron-LM does
      (training/training.py ``pretrain``: ``iteration % args.save_interval != 0``). Bridge 0.3 saves twice.
    """
    with placeholders.absent_packages():
        foreign.VALIDATE.hook(_validating)
        foreign.ATTEMPT.hook(lambda run: _attempting(run, say))
        save = _Saves(foreign.SAVE.get())
        foreign.SAVE.put(save)
        foreign.WRITE_TENSORS.hook(_raising)
        foreign.FINALIZE_SAVES.hook(save.telling)  # the end of a save that went on beside the training


def _validating(update: Callable[[Any], None]) -> Callable[[Any], None]:
    def validate(config: Any) -> None:
        try:
            update(config)
        except Exception as error:  # asserts, ValueErrors and RuntimeErrors alike
            raise rejection(error, config) from error

    return validate


def _attempting(run: Callable[..., None], say: Callable[[str], None]) -> Callable[..., None]:
    """Every attempt of an in-process restart comes by here, and must not depend on the one before.

    Bridge 0.3 remembers for the life of a process what trackers and configurations say (training/utils/
    checkpoint_utils.py ``read_train_state``), so that an attempt would go on from where the first one did. And it shuts
    down Megatron Core's queue of saves, but leaves it in place (training/inprocess_restart.py ``AbortCheckpoint``), so
    that no later save would succeed. And it makes the handler of ``--exit-signal-handler``, but does not install it
    (training/state.py ``_set_signal_handler``; 0.6.0 does).
    """

    def attempt(*args: Any, **kwargs: Any) -> None:
        state = kwargs["state"] if "state" in kwargs else args[0]
        checkpoint = state.cfg.checkpoint
        if state.cfg.train.exit_signal_handler and state.signal_handler.original_handler is None:
            state.signal_handler.__enter__()
        # The others wait for this one before they read, in the barrier after the process group is made.
        if os.environ["RANK"] == "0" and (done := mend(checkpoint.save, checkpoint.load)):
            say(done)
        for remembering in (foreign.READ_TRAIN_STATE, foreign.READ_RUN_CONFIG):
            remembering.get().cache_clear()
        foreign.QUEUE_OF_SAVES.put(None)
        run(*args, **kwargs)

    return attempt


def mend(save: str | None, load: str | None) -> str:
    """Mends the folder that a run goes on in; what another run has left is not touched. Returns what was done.

    Raises:
        SaveFailed: the folder cannot be written to.
    """
    if not save or not load or "://" in save or Path(save).resolve() != Path(load).resolve():
        return ""
    try:
        return checkpoints.mend(Path(save))
    except OSError as error:
        raise SaveFailed(f"not started: the checkpoints in {save} cannot be repaired: {error}") from error


class _Saves:
    """Bridge's ``save_checkpoint``, with what goes before and after."""

    def __init__(self, save: Callable[..., None]) -> None:
        self._save = self.telling(save)
        self._asked: tuple[str, int] | None = None

    def __call__(self, state: Any, *args: Any, **kwargs: Any) -> None:
        config, step = state.cfg.checkpoint, state.train_state.step
        if kwargs.get("non_persistent_ckpt") or "://" in config.save:
            self._save(state, *args, **kwargs)
            return
        restarts = state.cfg.inprocess_restart is not None and state.cfg.inprocess_restart.enabled
        if self._asked == (config.save, step) and not restarts:  # else the iteration may have come again
            return
        distributed = importlib.import_module("torch.distributed")
        folder, first = Path(config.save), distributed.get_rank() == 0
        self._asked = (config.save, step)
        if first:
            checkpoints.make_way(folder, step)
        distributed.barrier()
        self._save(state, *args, **kwargs)
        if first and not config.async_save:
            checkpoints.clear_aside(folder)

    def telling(self, function: Callable[..., None]) -> Callable[..., None]:
        """The function, with ``SaveFailed`` in place of what it raises when the disk refuses."""

        def told(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except BaseException as error:  # CheckpointException is no Exception
                why = disk_refuses(error)
                if why is None or self._asked is None:
                    raise
                raise SaveFailed(_failed(why, *self._asked) if why else "") from error

        return told


def _raising(write: Callable[..., Any]) -> Callable[..., Any]:
    """Raises the error that the function returns: since Megatron Core 0.17 only the class of a returned one is told."""

    @functools.wraps(write)
    def written(*args: Any, **kwargs: Any) -> Any:
        result = write(*args, **kwargs)
        in_this_thread = kwargs.get("results_queue") is None
        if in_this_thread and isinstance(result, tuple) and isinstance(result[1], Exception):
            raise result[1]
        return result

    return written


def disk_refuses(error: BaseException) -> str | None:
    """Why a save failed, in the words of the system; empty where another rank knows; None: not because of the disk.

    Megatron Core gathers what the ranks raise, on one of them, and raises an empty ``CheckpointException`` on the
    others (core/dist_checkpointing/strategies/state_dict_saver.py ``save_state_dict_async_finalize``).
    """
    failures = getattr(error, "failures", None)
    if isinstance(failures, dict):
        if error.args[0] != "write":
            return None
        reasons = [disk_refuses(failure) for failure, _ in failures.values()]
        return next(filter(None, reasons), None) if failures else ""
    found = re.search(r"\[Errno (\d+)\]", str(error))  # also of a child that writes tensors, as text
    number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
    if number in _OF_A_DISK:
        return os.strerror(number)
    if _UNSAID.search(str(error)):
        return _NO_REASON
    return disk_refuses(error.__cause__) if error.__cause__ is not None else None


def _failed(why: str, save: str, step: int) -> str:
    """Throws away what there is of a failed save; says where the run stands."""
    folder = Path(save)
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if not layout.is_complete(layout.folder_of(folder, step)):
            shutil.rmtree(layout.folder_of(folder, step), ignore_errors=True)
        checkpoints.mend(folder)
        why = f"{why}; {free >> 20} MiB were free on its disk"
    last = layout.last_whole(folder)
    kept = f"the last complete one is that of iteration {last}" if last is not None else "there is no complete one"
    return f"the checkpoint of iteration {step} could not be written to {save} ({why}); {kept}"
