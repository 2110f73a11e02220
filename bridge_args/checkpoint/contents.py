"""What one checkpoint holds and whether all of it is there, told without torch and without running anything of it."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import saved_args
from bridge_args.checkpoint import tensors as read
from bridge_args.checkpoint.layout import (
    COMMON,
    COMMON_STATE,
    INDEX,
    OF_A_RANK,
    RUN_CONFIG,
    CheckpointError,
    Place,
    place_of,
)
from bridge_args.checkpoint.tensors import Part, Tensor
from bridge_args.checkpoint.unpickle import Refused, TooLarge
from bridge_args.files import read_bytes
from bridge_args.records import Record

PARALLEL: Final = {
    "tensor": "tensor_model_parallel_size",
    "pipeline": "pipeline_model_parallel_size",
    "context": "context_parallel_size",
    "expert": "expert_model_parallel_size",
    "expert tensor": "expert_tensor_parallel_size",
}
_MOST_FILES: Final = 200_000
_MOST_RANKS: Final = 10_000
_LARGEST_YAML: Final = 4 << 20  # bytes
_LISTED: Final = 4  # of the same trouble

_RANK: Final = re.compile(r"mp_rank_\d{2,}(_\d{3,}){0,2}")
_TOP: Final = re.compile(r"([A-Za-z_]\w*):")
_INNER: Final = re.compile(r"  ([A-Za-z_]\w*): (\S.*)")
_SIZE: Final = re.compile(r"[1-9][0-9]{0,5}")

_SAVE_ARGS: Final = ("megatron-lm-legacy", "megatron-lm-torch_dist", "megatron-lm-zarr")
_FORMATS: Final = {
    "megatron-lm-legacy": "legacy",
    "megatron-lm-torch_dist": "torch_dist",
    "megatron-lm-zarr": "zarr",
    "nemo2": "torch_dist",
    "fsdp_dtensor": "fsdp_dtensor",
}
_ABOUT: Final = {
    "hugging-face": ("config.json", ("model_type", "architectures", "dtype", "torch_dtype")),
    "peft": ("adapter_config.json", ("peft_type", "base_model_name_or_path", "r", "lora_alpha")),
}

# Where a configuration says the parallel sizes: the file and its section.
_CONFIGS: Final = {
    "bridge": (RUN_CONFIG, "model"),
    "nemo-tron": (RUN_CONFIG, "model_config"),
    "nemo2": ("context/model.yaml", "config"),
}
_SECTIONS: Final = {  # what a run_config.yaml that is whole has; its writer sorts them
    "bridge": {"checkpoint", "model", "train"},
    "nemo-tron": {"checkpoint_config", "model_config", "train_config"},
}


class Contents(Record):
    """What a checkpoint holds.

    Attributes:
        place: the folder, its kind, the tracker and the iteration.
        format: of the tensors: ``torch_dist``, ``fsdp_dtensor``, ``legacy``, ``zarr``, ``safetensors``, ``bin``; None
            where that cannot be told.
        problems: what is missing or damaged, for people; none where the checkpoint is complete.
        tensors: those that an index or a header names, in order of their names.
        notes: what was not looked at, for people.
        unread: what was not looked at: files that are too large, tensors of zarr.
        files: how many there are.
        bytes: of all files.
        parallel: names of ``PARALLEL`` to ranks, as far as a configuration beside the tensors says so.
        about: what a configuration says of the model or the adapter.
        links: symbolic links that lead out of the folder, which were followed to read headers.
        saved: the arguments of Megatron-LM, where they are in a file of their own.
    """

    place: Place
    format: str | None
    problems: list[str]
    tensors: list[Tensor]
    notes: list[str]
    unread: list[Path]
    files: int
    bytes: int
    parallel: dict[str, int]
    about: dict[str, str]
    links: list[str]
    saved: saved_args.Saved | None

    @property
    def complete(self) -> bool | None:
        """Is everything there that was looked for? None where tensors were not looked at."""
        return False if self.problems else None if self.unread else True

    @property
    def of_model(self) -> list[Tensor]:
        return [tensor for tensor in self.tensors if not _is_of_optimizer(tensor.name)]

    @property
    def of_optimizer(self) -> list[Tensor]:
        return [tensor for tensor in self.tensors if _is_of_optimizer(tensor.name)]


def look_into(path: Path | Place) -> Contents:
    """What the checkpoint is and holds.

    Args:
        path: the folder that a run saves to, or one checkpoint; or where it is, as somebody else has found out.

    Raises:
        CheckpointError: there is none, or the tracker names none.
        SavedArgsError: the file with Megatron-LM's arguments is not one to trust.
    """
    try:
        return _contents(path if isinstance(path, Place) else place_of(path))
    except OSError as error:  # a folder that may not be read, or that is taken away
        raise CheckpointError(f"{error.filename or error} cannot be read: {error.strerror or error}") from error


def _contents(place: Place) -> Contents:
    if place.kind is None:
        raise CheckpointError(
            f"{place.folder} is no checkpoint: it has no tracker and nothing that Megatron-LM, Megatron Bridge, "
            f"nemo.tron, NeMo 2.0, Hugging Face or PEFT save{hint(place.folder)}"
        )
    return _Look(place, place.folder / place.kind.weights).contents()


# What stands in folders that are taken for a checkpoint, and what to do then. Verify: huggingface_hub, file_download.py
# repo_folder_name; transformers, trainer_utils.py PREFIX_CHECKPOINT_DIR; deepspeed, engine.py save_checkpoint.
_HINTS: Final = {
    "snapshots/*/": "it is a model in the cache of the Hub; name a folder in it, such as {}",
    "checkpoint-*/": "it is the folder of a trainer's run; name a checkpoint in it, such as {}",
    "global_step*/": "DeepSpeed has saved it; its zero_to_fp32.py makes weights of it that others read",
    "*.gguf": "{} is of llama.cpp, and made of another model; name that one",
}


def hint(folder: Path) -> str:
    """The end of a sentence that says what a folder is not; empty where nobody takes it for that."""
    for pattern, said in _HINTS.items():
        if (found := next(iter(sorted(folder.glob(pattern))), None)) is not None:
            return f"; {said.format(found)}"
    return ""


def _is_of_optimizer(name: str) -> bool:
    """Megatron-LM's names: ``optimizer.state.exp_avg...``, and ``chained_0.optimizer...`` for several of them."""
    first, _, rest = name.partition(".")
    return first == "optimizer" or (first.startswith("chained_") and rest.startswith("optimizer"))


class _Look:
    """One look into a folder: what is wrong is noted, and the rest is looked at."""

    def __init__(self, place: Place, weights: Path) -> None:
        assert place.kind is not None
        self.place, self.kind, self.folder, self.weights = place, place.kind, place.folder, weights
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.unread: list[Path] = []
        self.tensors: list[Tensor] = []
        self.common: Part | None = None

    def contents(self) -> Contents:
        for needed in self.kind.needs:
            self.there(needed)
        config = self.config()
        format = self.format(config.get("checkpoint", {}).get("ckpt_format"))
        saved = saved_args.read(self.folder) if self.kind.name in _SAVE_ARGS and self.has_args() else None
        parallel = _sizes(config.get(_CONFIGS.get(self.kind.name, ("", ""))[1], {}) if saved is None else saved.values)
        if format in ("torch_dist", "fsdp_dtensor"):
            self.distributed(format)
        elif format == "legacy":
            self.legacy(parallel)
        elif format == "zarr":
            self.notes.append("the tensors, a folder of zarr for each, were not looked at")
            self.unread.append(self.weights)
        elif format is not None:
            self.of_files(format)
        if saved is None and self.common is not None and self.kind.name in _SAVE_ARGS:
            saved = saved_args.read_part(self.weights, self.common)
            parallel = _sizes(saved.values)
        self.counted(saved)
        about = self.about()
        marker = self.folder.parent / f"{self.folder.name}-unfinished"
        if self.kind.name == "nemo2" and marker.exists():
            self.problems.append(f"{marker} says that the save has not ended")
        files, size, links = _walked(self.folder)
        return Contents(
            self.place,
            format,
            self.problems,
            sorted(self.tensors),
            self.notes,
            self.unread,
            files,
            size,
            parallel,
            about,
            links,
            saved,
        )

    def counted(self, saved: saved_args.Saved | None) -> None:
        """A folder that was renamed is one iteration by its name, and another by what lies in it."""
        named, said = self.place.iteration, saved.iteration if saved is not None else None
        if saved is not None and None not in (named, said) and named != said:
            self.problems.append(f"{self.folder} is called iteration {named}, and {saved.file} says it is {said}")

    def there(self, needed: str) -> None:
        names = needed.split("|")
        if not any((self.folder / name).is_file() for name in names):
            self.problems.append(f"{self.folder / names[0]} is missing")

    def has_args(self) -> bool:
        common = self.folder / COMMON
        if common.exists() and not common.is_file():
            raise CheckpointError(f"{common} is no regular file")
        return saved_args.is_checkpoint(self.folder)

    def format(self, configured: str | None) -> str | None:
        name = self.kind.name
        if name in _FORMATS:
            return _FORMATS[name]
        if name in ("hugging-face", "peft"):
            has = {ending: any(self.folder.glob(f"*.{ending}*")) for ending in ("safetensors", "bin")}
            return "safetensors" if has["safetensors"] else "bin" if has["bin"] else None
        if any((self.weights / mark).is_file() for mark in ("metadata.json", COMMON)):
            return "torch_dist"
        if configured in ("torch_dist", "fsdp_dtensor"):
            return configured
        return "fsdp_dtensor" if name == "bridge" and (self.weights / INDEX).is_file() else None

    def config(self) -> dict[str, dict[str, str]]:
        name, _ = _CONFIGS.get(self.kind.name, ("", ""))
        if not name or not (self.folder / name).is_file():
            return {}
        try:
            text = read_bytes(self.folder / name, _LARGEST_YAML).decode("utf-8")
        except (OSError, ValueError) as error:
            self.problems.append(f"{self.folder / name} cannot be read: {getattr(error, 'strerror', None) or error}")
            return {}
        found = _sections(text)
        if not (_SECTIONS.get(self.kind.name, set()) <= found.keys() and text.endswith("\n")):
            self.problems.append(f"{self.folder / name} is not whole")
        return found

    def attempt(self, file: Path, reading: Callable[[Path], Any]) -> Any:
        """What a file holds; None where it cannot be read, which is told."""
        try:
            return reading(file)
        except TooLarge as refusal:
            self.notes.append(f"{refusal}; what it names was not looked at")
            self.unread.append(file)
        except Refused as refusal:
            self.problems.append(str(refusal))
        except OSError as error:
            self.problems.append(f"{file} cannot be read: {error.strerror or error}")
        return None

    def archive(self, file: Path) -> None:
        """A file of ``torch.save`` ends with a directory: is it there?"""
        if file.is_file() and not zipfile.is_zipfile(file):
            self.problems.append(f"{file} is not whole")

    def together(self, problems: list[str]) -> None:
        """A few of the same trouble, and how many more."""
        more = len(problems) - _LISTED
        self.problems += [*problems[:_LISTED], *([f"{more} more files are missing or not whole"] if more > 0 else [])]

    def distributed(self, format: str) -> None:
        if format == "torch_dist":
            metadata = self.weights / "metadata.json"
            if metadata.is_file():
                self.backend(metadata)
            elif f"{metadata} is missing" not in self.problems:
                self.problems.append(f"{metadata} is missing")
        for name in (COMMON, "train_state.pt"):
            self.archive(self.weights / name)
        index = self.attempt(self.weights / INDEX, read.of_index) if (self.weights / INDEX).is_file() else None
        if index is None:
            return
        self.tensors = index.tensors
        if format == "torch_dist" and not (self.weights / COMMON).is_file():
            self.common = index.places.get(COMMON_STATE)
            if not any(name.startswith("common_state") for name in index.others):
                self.problems.append(f"{self.weights / COMMON} is missing")
        short = {name: said for name, end in index.ends.items() if (said := _short(self.weights / name, end))}
        if self.common is not None and self.common.file in short:
            self.common = None
        self.together([short[name] for name in sorted(short)])

    def backend(self, metadata: Path) -> None:
        """Megatron Core reads what this file says. Verify: megatron/core/dist_checkpointing/core.py."""
        said = self.attempt(metadata, read.mapping_in)
        backend = "torch_dist" if said is None else said.get("sharded_backend")
        if not isinstance(backend, str):
            self.problems.append(f"{metadata} does not say by sharded_backend how the tensors were saved")
        elif backend != "torch_dist":
            self.problems.append(f"{metadata} says that the tensors were saved as {backend[:40]}, not as torch_dist")

    def legacy(self, parallel: Mapping[str, int]) -> None:
        """Verify: Megatron-LM, training/checkpointing.py, get_checkpoint_name."""
        tensor, pipeline, expert = (parallel.get(name, 1) for name in ("tensor", "pipeline", "expert"))
        count = tensor * pipeline * expert
        there = sorted(folder.name for folder in self.folder.glob("mp_rank_*") if _RANK.fullmatch(folder.name))
        if count <= _MOST_RANKS:
            names = [
                f"mp_rank_{t:02d}" + (f"_{p:03d}" if pipeline > 1 else "") + (f"_{e:03d}" if expert > 1 else "")
                for t in range(tensor)
                for p in range(pipeline)
                for e in range(expert)
            ]
            self.together([f"{self.folder / name} is missing" for name in names if name not in there])
        files = []
        for name in there:
            found = [file for one in OF_A_RANK if (file := self.folder / name / one).is_file()]
            files += found
            if not found:
                self.problems.append(f"{self.folder / name / OF_A_RANK[0]} is missing")
        for file in files:
            self.archive(file)
        if files:
            self.tensors = self.attempt(files[0], read.of_rank) or []
            if len(there) > 1:
                self.notes.append(f"the tensors are those of {there[0]}, one of {len(there)} ranks")

    def of_files(self, format: str) -> None:
        index = next(iter(sorted(self.folder.glob(f"*.{format}.index.json"))), None)
        placed = self.attempt(index, read.files_of_index) if index is not None else None
        if index is not None and placed is None:
            return
        files = [self.folder / name for name in sorted(set(placed.values()))] if placed is not None else []
        files = files or sorted(self.folder.glob(f"*.{format}"))
        self.together([f"{file} is missing" for file in files if not file.exists()])
        reading = read.of_safetensors if format == "safetensors" else read.of_rank
        held: dict[str, list[str]] = {}
        for file in files:
            found = self.attempt(file, reading) if file.exists() else None
            self.tensors += found or []
            if found is not None:
                held[file.relative_to(self.folder).as_posix()] = [tensor.name for tensor in found]
        if format == "bin":
            for file in files:
                self.archive(file)
        for file, names in held.items():
            lacking = {name for name, where in (placed or {}).items() if where == file}.difference(names)
            if lacking:
                self.problems.append(f"{self.folder / file} has no {min(lacking)[:80]}, which {index} says it has")
            elif placed is not None and (more := set(names) - placed.keys()):
                self.problems.append(f"{self.folder / file} has {min(more)[:80]}, which {index} does not name")
        if self.kind.name == "peft":
            self.pairs({tensor.name for tensor in self.tensors})

    def pairs(self, names: set[str]) -> None:
        """Every matrix of LoRA has its other half."""
        for one, other in ("AB", "BA"):
            for name in sorted(names):
                partner = re.sub(rf"\b(lora_(?:embedding_)?){one}\b", rf"\g<1>{other}", name)
                if partner not in names:
                    self.problems.append(f"{self.folder}: {name[:80]} is there without its lora_{other}")
                    break

    def about(self) -> dict[str, str]:
        name, keys = _ABOUT.get(self.kind.name, ("", ()))
        file = self.folder / name
        said = (self.attempt(file, read.mapping_in) if name and file.is_file() else None) or {}
        told: dict[str, Any] = {key: said.get(key) for key in keys}
        told = {key: ", ".join(map(str, value)) if _is_texts(value) else value for key, value in told.items()}
        return {
            key: str(value)[:200] for key, value in told.items() if isinstance(value, (str, int, float)) and value != ""
        }


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _short(file: Path, end: int) -> str | None:
    if not file.is_file():
        return f"{file} is missing"
    size = file.stat().st_size
    return f"{file} is not whole: it has {size} of {end} bytes" if size < end else None


def _sections(text: str) -> dict[str, dict[str, str]]:
    """Scalars of a YAML that a program has written, two levels deep, as their text: nothing of it is built."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        if top := _TOP.match(line):
            section = found.setdefault(top[1], {})
        elif inner := _INNER.match(line):
            section[inner[1]] = inner[2]
    return found


def _sizes(values: Mapping[str, Any]) -> dict[str, int]:
    texts = {name: str(values.get(key)) for name, key in PARALLEL.items()}
    return {name: int(text) for name, text in texts.items() if _SIZE.fullmatch(text)}


def _walked(folder: Path) -> tuple[int, int, list[str]]:
    """How many files, their bytes, and the links that lead out."""
    root = os.path.realpath(folder)
    count = size = 0
    links: list[str] = []
    for path in _paths(folder):
        if os.path.islink(path) and os.path.commonpath([root, os.path.realpath(path)]) != root:
            links.append(f"{path} -> {os.path.realpath(path)}")
        if os.path.isfile(path):
            count += 1
            size += os.stat(path).st_size
    return count, size, links


def _paths(folder: Path) -> Iterator[str]:
    met = 0
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            met += 1
            if met > _MOST_FILES:
                return
            yield os.path.join(here, name)
