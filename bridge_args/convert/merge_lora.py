"""``checkpoint merge-lora`` for adapters of PEFT's: a model of Hugging Face's with the adapter in its weights."""

from __future__ import annotations

import filecmp
import importlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

from bridge_args.checkpoint.layout import CheckpointError
from bridge_args.checkpoint.tensors import bytes_of, files_of_index, mapping_in
from bridge_args.checkpoint.unpickle import Refused as Unreadable
from bridge_args.children import ended_by_signals
from bridge_args.convert import hugging_face, lora, merge, output, weights
from bridge_args.convert.lora import Adapter, Changes
from bridge_args.convert.progress import Progress
from bridge_args.convert.provenance import NAME as PROVENANCE
from bridge_args.convert.provenance import Provenance, hashes, peak_memory
from bridge_args.convert.weights import Entry, Weights
from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.wording import counted, listed

# Weights in another form would be those of the base.
_OTHER_WEIGHTS: Final = (
    ".safetensors .bin .pt .pth .ckpt .gguf .ggml .onnx .msgpack .h5 .npz .nemo .tflite .pickle .pkl .llamafile"
).split()
_MOST_FILES: Final = 10_000
_ROOM: Final = 1.2  # of its weights: what a model takes that is run on a few tokens


class Asked(Record):
    """What a user asks for.

    Attributes:
        adapter, base, to: folders.
        base_is: the name that the adapter has for its base, where the user says that this is it.
        smoke: run the result once.
        trust_remote_code: run code that comes with the base, where transformers loads it.
    """

    adapter: Path
    base: Path
    to: Path
    base_is: str | None = None
    smoke: bool = True
    trust_remote_code: bool = False


class Merged(Record):
    """What was done.

    Attributes:
        tensors: of the base.
        changed: how many of them are others now.
        pairs: products that were added.
        bytes: of the weights.
        seconds: of the merge, without what is checked before and afterwards.
        processor: seconds that all processors together have worked on it.
        peak: bytes of memory of this process by then.
        checked: what was looked at afterwards.
        notes: for people.
    """

    tensors: int
    changed: int
    pairs: int
    bytes: int
    seconds: float
    processor: float
    peak: int
    checked: list[str]
    notes: list[str]


class _Plan(Record):
    """What is to be done, once nothing speaks against it."""

    adapter: Adapter
    changes: Changes
    files: list[Weights]
    others: list[Path]
    notes: list[str]
    same_by: str


def merged(asked: Asked, words: Sequence[str], stream: TextIO | None, say: Callable[[str], None]) -> Merged:
    """Merges; the folder is there when all of it is, and right.

    Args:
        words: the command, for the record.
        stream: a terminal for the bar.
        say: takes a line for the user.

    Raises:
        Refused: it is not begun; every reason.
        UserError: what was made is not right.
        OSError: a disk is full, or broken.
    """
    _needed()
    provenance = Provenance("checkpoint merge-lora", words)
    seen = output.Seen(*(asked.adapter / name for name in (lora.CONFIG, lora.FILE)), asked.base)
    plan = _plan(asked)
    for note in plan.notes:
        say(note)
    importlib.import_module("torch")
    with ended_by_signals(), output.new_folder(asked.to) as folder:
        begun, worked = provenance.seconds, time.process_time()
        read, written = _written(asked, plan, folder, stream, say)
        seen.unchanged()
        seconds, worked, peak = provenance.seconds - begun, time.process_time() - worked, peak_memory()
        smoke, why_not = _smoke(asked, plan)
        try:
            checked = hugging_face.checked(folder, asked.base, smoke, asked.trust_remote_code, numbers=False)
            checked += ["every number is finite", *why_not]  # looked at while they were written
        except UserError as error:
            raise type(error)(str(error).replace(str(folder), str(asked.to))) from error
        found = Merged(
            tensors=sum(len(held.entries) for held in plan.files),
            changed=len(plan.changes.of),
            pairs=plan.changes.pairs,
            bytes=sum(held.size for held in plan.files),
            seconds=round(seconds, 3),
            processor=round(worked, 3),
            peak=peak,
            checked=checked,
            notes=plan.notes,
        )
        provenance.input("base", asked.base, read)
        files = {name: hashes(asked.adapter / name)[name] for name in (lora.CONFIG, lora.FILE)}
        provenance.input("adapter", asked.adapter, files, base=plan.adapter.base, base_is_by=plan.same_by)
        provenance.tell(backend="hf_peft", merge=found._asdict())
        provenance.write(folder, written)
    return found


def _needed() -> None:
    """What merges, and what looks at the result.

    Raises:
        UserError: it is not installed.
    """
    if missing := [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]:
        raise UserError(
            f"merging needs {listed(missing)}, which this Python does not have: pip install {' '.join(missing)}"
        )


def _smoke(asked: Asked, plan: _Plan) -> tuple[bool, list[str]]:
    """Is the result run? One that does not fit into memory would end the process, and all would be lost."""
    size = sum(held.size for held in plan.files)
    free = _available()
    if asked.smoke and free is not None and size * _ROOM > free:
        return False, [f"not run: {size:,} bytes of weights, and {free:,} bytes of memory free"]
    return asked.smoke, []


def _available() -> int | None:
    """Bytes of memory that a process can have; None where the system does not say (proc(5))."""
    try:
        said = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", said, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


# Before ---------------------------------------------------------------------------------------------------------------


def _plan(asked: Asked) -> _Plan:
    """Everything is looked at, and every reason told, before the first byte is written.

    Raises:
        Refused: something speaks against it.
    """
    adapter, reasons = lora.read(asked.adapter)
    against = hugging_face.reasons_against_model(asked.base)
    reasons += against
    files: list[Weights] = []
    found, same_by = None, ""
    if not against:
        try:
            files = [weights.read(asked.base / name) for name in _files_of(asked.base)]
            reasons += _against_numbers(asked.base)
        except (Unreadable, CheckpointError, OSError) as error:
            reasons.append(str(error))
    if adapter is not None:
        same_by, why_not = _is_its_base(adapter, asked, files)
        reasons += why_not
    if adapter is not None and files:
        base = {entry.name: entry for held in files for entry in held.entries}
        found, why_not = lora.changes(adapter, base, hugging_face.config_of(asked.base))
        reasons += [reason for reason in why_not if reason not in reasons]
    others, left_out = _others(asked.base, files) if asked.base.is_dir() else ([], [])
    size = sum(held.size for held in files) + sum(path.stat().st_size for path in others)
    if found is not None and found.head is not None:
        size += found.head[2].size
        if "text_config" in hugging_face.config_of(asked.base):
            reasons.append(
                f"{asked.adapter} makes two of a tied tensor, which is not done for a model of several parts"
            )
    reasons += output.reasons_against(asked.to, [asked.adapter, asked.base], size)
    if not reasons and (why := hugging_face.why_no_tokenizer(asked.base, asked.trust_remote_code)):
        reasons.append(why)  # before, and not once all is merged
    if reasons or adapter is None or found is None:
        raise output.Refused(reasons)
    notes = [*found.notes, *_of_another_tokenizer(asked), *_of_another_sum(asked.base / hugging_face.INDEX, files)]
    if left_out:
        more = "" if len(left_out) < 4 else f" and {len(left_out) - 3} more"
        notes.append(f"not copied, as they may hold weights without the adapter: {', '.join(left_out[:3])}{more}")
    return _Plan(adapter, found, files, others, notes, same_by)


def _files_of(base: Path) -> list[str]:
    index = base / hugging_face.INDEX
    return sorted(set(files_of_index(index).values())) if index.is_file() else ["model.safetensors"]


def _against_numbers(base: Path) -> list[str]:
    quantized = hugging_face.config_of(base).get("quantization_config")
    if not quantized:
        return []
    method = quantized.get("quant_method") if isinstance(quantized, Mapping) else None
    return [f"{base} is quantized ({method or 'by its config.json'}); merge into the model that it was made of"]


def _is_its_base(adapter: Adapter, asked: Asked, files: Sequence[Weights]) -> tuple[str, list[str]]:
    """By what this is the base that the adapter was trained on; and why that cannot be told."""
    name, base = adapter.base, asked.base
    if asked.base_is is not None:
        if name and asked.base_is != name:
            return "", [f"--base-is says {asked.base_is}, and {adapter.folder / lora.CONFIG} names {name} as its base"]
        return "--base-is", []
    if not name:
        return "", [f"{adapter.folder / lora.CONFIG} names no base; say which it was trained on: --base-is NAME"]
    named = Path(name)
    if "\0" not in name and named.is_dir():
        if os.path.realpath(named) == os.path.realpath(base):
            return "path", []
        if files and _same_weights(named, files):
            return "hashes of its weights", []
        return "", [f"{adapter.folder} was trained on {name}, and {base} has other weights"]
    real = Path(os.path.realpath(base))
    if real.parent.name == "snapshots" and real.parent.parent.name == f"models--{name.replace('/', '--')}":
        revision = adapter.config.get("revision")
        if isinstance(revision, str) and len(revision) == 40 and revision != real.name:
            return "", [f"{adapter.folder} was trained on revision {revision} of {name}, and {base} is another"]
        return "name in the cache of the Hub", []
    return "", [
        f"{adapter.folder} was trained on {name[:200]}, and nothing says that {base} is that; if it is, add "
        f"--base-is {name[:200]}"
    ]


def _same_weights(named: Path, files: Sequence[Weights]) -> bool:
    """Has another folder the very same files?"""
    theirs = [named / held.path.name for held in files]
    try:
        if any(file.stat().st_size != held.size for file, held in zip(theirs, files, strict=True)):
            return False
        return all(
            hashes(file)[file.name] == hashes(held.path)[held.path.name]
            for file, held in zip(theirs, files, strict=True)
        )
    except OSError:
        return False


def _others(base: Path, files: Sequence[Weights]) -> tuple[list[Path], list[str]]:
    """What is copied beside the weights, and what is not since it may hold weights, too."""
    taken = {held.path for held in files}
    copied: list[Path] = []
    left_out: list[str] = []
    for above, folders, names in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(above, name)
            if path in taken or not path.is_file() or name.startswith(".") or path == base / PROVENANCE:
                continue
            is_weights = path.suffix in _OTHER_WEIGHTS or name.endswith(".index.json")
            if is_weights and path != base / hugging_face.INDEX:
                left_out.append(path.relative_to(base).as_posix())
            else:
                copied.append(path)
    return copied[:_MOST_FILES], left_out


def _of_another_tokenizer(asked: Asked) -> list[str]:
    """Who trains with tokens or a template of his own finds them beside the adapter."""
    names = [*hugging_face.TOKENIZER, "chat_template.jinja"]
    other = [
        name
        for name in names
        if (asked.adapter / name).is_file() and not _same(asked.adapter / name, asked.base / name)
    ]
    return [f"{asked.adapter} has another {listed(other)} than the base, whose files are taken"] if other else []


def _of_another_sum(index: Path, files: Sequence[Weights]) -> list[str]:
    """Many an index was written by hand; nobody needs the sum to load a model."""
    metadata = mapping_in(index).get("metadata") if index.is_file() else None
    said = metadata.get("total_size") if isinstance(metadata, dict) else None
    total = sum(entry.size for held in files for entry in held.entries)
    if said is None or said == total:
        return []
    return [f"{index} says {str(said)[:40]} bytes, and its files have {total}: the index of the result is right"]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


# Meanwhile ------------------------------------------------------------------------------------------------------------


def _written(
    asked: Asked, plan: _Plan, folder: Path, stream: TextIO | None, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Every file; what was read and what was written, by name."""
    tensors, size = sum(len(held.entries) for held in plan.files), sum(held.size for held in plan.files)
    read: dict[str, dict[str, Any]] = {}
    written: dict[str, dict[str, Any]] = {}
    head = plan.changes.head
    with (
        Progress("merging", tensors + (head is not None), size, stream, say) as progress,
        merge.Merger(str(asked.adapter), plan.changes.of) as merger,
        weights.Copier() as copier,
    ):
        make = dict.fromkeys(plan.changes.of, merger.begun)

        def write(by: weights.Copier, held: Weights) -> None:
            name, target = _target(held.path, asked.base, folder)
            more = [merger.new(*head)] if head is not None and held.path == head[2].file else []
            read[name], written[name] = by.weights(held, target, make, progress.did, more, merger.look)

        by_rows = [held for held in plan.files if merger.by_rows(held.entries)]
        weights.several(by_rows, write)
        for held in plan.files:
            if held not in by_rows:
                write(copier, held)
        for path in plan.others:
            name, target = _target(path, asked.base, folder)
            read[name], written[name] = copier.copy(path, target)
        copier.finished()
    for name in _corrected(folder, head):
        written.pop(name, None)  # it is another now
    return read, written


def _corrected(folder: Path, head: tuple[str, Entry, Entry] | None) -> list[str]:
    """Makes configuration and index those of the weights; returns the names of the files that are others now."""
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "config.json": lambda said: said.update(tie_word_embeddings=False) if head is not None else None,
        hugging_face.INDEX: lambda said: _indexed(folder, said, head),
    }
    changed = []
    for name, change in changes.items():
        if (folder / name).is_file():
            before = mapping_in(folder / name)
            change(said := dict(before))
            if said != before:
                (folder / name).write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                changed.append(name)
    return changed


def _indexed(folder: Path, index: dict[str, Any], head: tuple[str, Entry, Entry] | None) -> None:
    """A head of its own may have come, and the sum may never have been right."""
    if head is not None:
        index["weight_map"] = {**index["weight_map"], head[0]: head[2].file.name}
    metadata = index.get("metadata")
    total = bytes_of(hugging_face.tensors_of(folder))
    if isinstance(metadata, dict) and "total_size" in metadata and total is not None:
        index["metadata"] = {**metadata, "total_size": total}


def _target(path: Path, base: Path, folder: Path) -> tuple[str, Path]:
    name = path.relative_to(base)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return name.as_posix(), folder / name


def told(found: Merged, to: Path) -> str:
    """For people."""
    checked = "".join(f"  checked: {one}\n" for one in found.checked)
    return (
        f"{to}: {counted(found.changed, 'tensor')} of {found.tensors} changed, by {counted(found.pairs, 'pair')} of "
        f"matrices\n  {found.bytes:,} bytes in {found.seconds:.1f} s, memory at most {found.peak:,} bytes\n{checked}"
        f"  {to / PROVENANCE} says what it was made of\n"
    )
