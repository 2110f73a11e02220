"""What would stop a run in its set-up, or at its first checkpoint: files that are not there, folders that refuse.

Asked before any process group exists, from the run config alone, without torch. Every rank asks, so that no rank is
left waiting for one that has gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from bridge_args.checkpoint.layout import MEGATRON_TRACKER, folder_of, has_tracker, is_found
from bridge_args.versions import PROVEN, Versions, holds
from bridge_args.wording import counted

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation

_LISTED: Final = 4  # missing files named in one message
_ROOM: Final = 1 << 20  # bytes; what is written beside the tensors of a checkpoint takes less

# Tokenizers that read local files, and the settings that name them (training/tokenizers/tokenizer.py).
_TOKENIZER_FILES: Final = {
    "BertWordPieceLowerCase": ("vocab_file",),
    "BertWordPieceCase": ("vocab_file",),
    "GPT2BPETokenizer": ("vocab_file", "merge_file"),
    "SentencePieceTokenizer": ("tokenizer_model",),
    "GPTSentencePieceTokenizer": ("tokenizer_model",),
    "Llama2Tokenizer": ("tokenizer_model",),
    "TikTokenizer": ("tokenizer_model",),
}


class Problem(NamedTuple):
    """One thing that stops the run; ``path`` is the setting it is about."""

    path: str
    message: str


def problems(run_config: Mapping[str, Any], bridge: str = PROVEN.bridge) -> list[Problem]:
    """Everything that is missing or refuses, on this machine and from this working directory.

    What lies in an object store (``s3://``, ``msc://``) is not looked at.

    Args:
        bridge: the version that is to train; since 0.4 it takes the folder of one iteration, too.
    """
    checkpoint = run_config["checkpoint"]
    found = [*_data(run_config["dataset"]), *_tokenizer(run_config.get("tokenizer") or {}), *_start(checkpoint, bridge)]
    folders = {
        "checkpoint.save": checkpoint.get("save"),
        "logger.tensorboard_dir": (run_config.get("logger") or {}).get("tensorboard_dir"),
        "dataset.path_to_cache": run_config["dataset"].get("path_to_cache"),
    }
    for path, folder in folders.items():
        if _local(folder) and (why := unwritable(Path(folder))):
            found.append(Problem(path, why))
    return found


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder, which need not exist; empty if something can."""
    existing = folder.absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        what = "leads nowhere" if existing.is_symlink() and not existing.exists() else "is not a folder"
        return f"{existing} {what}, so nothing can be saved in {folder}"
    if not os.access(existing, os.W_OK | os.X_OK):
        read_only = bool(os.statvfs(existing).f_flag & os.ST_RDONLY)
        why = "is on a file system mounted read-only" if read_only else "may not be written to by this user"
        return f"{existing} {why}, so nothing can be saved in {folder}"
    disk = shutil.disk_usage(existing)  # some file systems do not say: 0 of 0
    return (
        f"no room to save in {folder}: {disk.free} bytes are free on its disk" if disk.free < _ROOM < disk.total else ""
    )


def _data(dataset: Mapping[str, Any]) -> Iterator[Problem]:
    """The ``.bin`` and ``.idx`` of every prefix (core/datasets/indexed_dataset.py ``IndexedDataset.exists``)."""
    if not dataset.get("_target_", "").rpartition(".")[2].startswith("GPTDatasetConfig"):
        return
    blends = {"dataset.blend": [dataset.get("blend")], "dataset.blend_per_split": dataset.get("blend_per_split") or []}
    for path, several in blends.items():
        prefixes = dict.fromkeys(prefix for blend in several if blend for prefix in blend[0])
        files = [f"{prefix}{end}" for prefix in prefixes for end in (".bin", ".idx") if _local(prefix)]
        if missing := [file for file in files if not _there(file)]:
            yield Problem(path, f"no such data: {_listed(missing)} (of {counted(len(prefixes), 'data set')})")


def _tokenizer(tokenizer: Mapping[str, Any]) -> Iterator[Problem]:
    kind = tokenizer.get("tokenizer_type") or ""
    for name in _TOKENIZER_FILES.get(kind, ()):
        file = tokenizer.get(name)
        if _local(file) and not _there(file):
            yield Problem(f"tokenizer.{name}", f"no such file: {file}, which {kind} reads")
    model = tokenizer.get("tokenizer_model")
    # Else it may be a name on the hub.
    if kind == "HuggingFaceTokenizer" and _local(model) and model.startswith(("/", "./", "../")) and not _there(model):
        yield Problem("tokenizer.tokenizer_model", f"no such folder: {model}, which {kind} reads")


def _start(checkpoint: Mapping[str, Any], bridge: str) -> Iterator[Problem]:
    """Checkpoints the run cannot do without.

    A folder to load from that holds none is none of them: both Megatron-LM and Bridge start from random weights then,
    unless ``--exit-on-missing-checkpoint`` is given. Bridge does not read that before it has found a checkpoint, and no
    ``ckpt_step`` either, where Megatron-LM stops (training/setup.py ``should_load_checkpoint``): both are asked here.
    """
    load, pretrained, step = (checkpoint.get(name) for name in ("load", "pretrained_checkpoint", "ckpt_step"))
    if holds("bridge >=0.4", Versions("0", bridge)) and _local(pretrained) and not _there(pretrained):
        yield Problem("checkpoint.pretrained_checkpoint", f"no such folder: {pretrained}; Bridge wants it in any case")
        return
    if _local(load) and not is_found(Path(load), bridge):
        if checkpoint.get("exit_on_missing_checkpoint"):
            yield Problem("checkpoint.load", f"no checkpoint in {load}, and --exit-on-missing-checkpoint is set")
        elif step is not None and _has_step(load, step):
            message = f"{load} has iteration {step} and no tracker, without which Bridge does not look for one"
            yield Problem("checkpoint.ckpt_step", f"{message}: write {step} to {load}/{MEGATRON_TRACKER}")
        elif step is not None:
            yield Problem("checkpoint.ckpt_step", f"no checkpoint of iteration {step} in {load}")
        elif _local(pretrained) and not is_found(Path(pretrained), bridge, pretrained=True):
            yield Problem("checkpoint.pretrained_checkpoint", f"no checkpoint in {pretrained}, and none in {load}")
    elif _local(load) and step is not None and has_tracker(Path(load)) and not _has_step(load, step):
        yield Problem("checkpoint.ckpt_step", f"no checkpoint of iteration {step} in {load}")
    elif not load and _local(pretrained) and not is_found(Path(pretrained), bridge, pretrained=True):
        yield Problem("checkpoint.pretrained_checkpoint", f"no checkpoint in {pretrained}")


def _has_step(load: str, step: int) -> bool:
    return folder_of(Path(load), step).is_dir()


def _local(path: Any) -> TypeGuard[str]:
    return isinstance(path, str) and bool(path) and "://" not in path


def _there(path: str) -> bool:
    return os.path.exists(path)


def _listed(files: Iterable[str]) -> str:
    files = list(files)
    more = f" and {len(files) - _LISTED} more files" if len(files) > _LISTED else ""
    return ", ".join(files[:_LISTED]) + more


def said(found: Sequence[Problem], t: Translation, node: str = "") -> str:
    """What to tell the user: every problem, with the flags it comes from."""
    origins = {assignment.path: assignment.origin.arguments for assignment in t.assignments}
    lines = [f"not started{f' (on {node})' if node else ''}:"]
    for problem in found:
        given = [name for name in origins.get(problem.path, ()) if t.outcomes[name].given]
        flags = ", ".join(t.catalog.flags_of(name)[0] for name in given)
        lines.append(f"  {problem.message}{f'  ({flags})' if flags else ''}")
    return "\n".join(lines)
