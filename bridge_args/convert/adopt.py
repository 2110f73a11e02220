"""A checkpoint of Megatron-LM becomes one that Bridge's own loaders take: configuration and counters come beside it.

No file with tensors is written or changed. Bridge looks for ``run_config.yaml`` and ``train_state.pt`` in the folder of
an iteration, for ``tokenizer/`` there, and for ``latest_train_state.pt`` beside Megatron-LM's own tracker.
Verify: megatron/bridge/training/checkpointing.py, save_checkpoint and _resolve_checkpoint_iteration.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bridge_args.checkpoint import contents, layout, train_state
from bridge_args.checkpoint.contents import Contents
from bridge_args.checkpoint.layout import CheckpointError, Place
from bridge_args.checkpoint.saved_args import Saved, SavedArgsError
from bridge_args.checkpoint.train_state import TrainState
from bridge_args.convert import legacy, output, tokenizer
from bridge_args.convert.as_saved import as_saved, rows_of
from bridge_args.convert.megatron import of_newer_core
from bridge_args.convert.provenance import NAME as PROVENANCE
from bridge_args.convert.provenance import Provenance, hashes
from bridge_args.convert.tokenizer import Tokenizer
from bridge_args.emit.config_yaml import to_yaml
from bridge_args.errors import UserError
from bridge_args.files import write_new
from bridge_args.findings import without_secrets
from bridge_args.mapping.translation import Translation
from bridge_args.records import Record
from bridge_args.source.yaml import plain
from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.steps import translate_saved
from bridge_args.wording import counted

TRAIN_STATE: Final = "train_state.pt"
_OTHERS: Final = ("encoder.", "binary_head.", "vision_model.", "language_model.")  # names of tensors that no GPT has
_INSTEAD: Final = "save it with --ckpt-format torch_dist from the Megatron-LM that has saved it"
_NO_LINK: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
_ARE: Final = {
    "megatron-lm-zarr": f"is saved with zarr, which no Bridge reads; {_INSTEAD}",
    "fsdp_dtensor": f"is saved with fsdp_dtensor or torch_dcp, and a torch_dist one is needed; {_INSTEAD}",
    "nemo-tron": "is a checkpoint of nemo.tron, of which only the configuration has to change: bridge-args migrate "
    "run-config --in-place does that",
    "nemo2": "is a checkpoint of NeMo 2.0: bridge-args migrate nemo2 translates its configuration",
    "hugging-face": "is a model of Hugging Face's, not a checkpoint of Megatron-LM",
    "peft": "is an adapter of PEFT's, not a checkpoint of Megatron-LM",
    "torch-distributed": "has no index of its tensors, so it is not a whole checkpoint",
}


class Request(Record):
    """What is asked for.

    Attributes:
        path: the folder that a run saves to, or one checkpoint.
        iteration: which one; None: the tracker's.
        output: the new folder; None: in place.
        tokenizer: a folder with files of a tokenizer.
        megatron_lm, bridge, mappings: as for ``steps.translate_saved``.
    """

    path: Path
    iteration: int | None = None
    output: Path | None = None
    tokenizer: Path | None = None
    megatron_lm: str | None = None
    bridge: str | None = None
    mappings: str | None = None


class Plan(Record):
    """What adopting will do; nothing is written yet.

    Attributes:
        reasons: why it is not done; all of them.
        notes: what the user should know beside.
        translation: of the saved arguments; None where there are none.
        source: the checkpoint; None where there is none.
        name: of the folder of the iteration in the result.
        added: what is written, by its name below the folder of the trackers, in this order.
        kept: what would be written and is there already.
        tokenizer: files that are copied.
    """

    request: Request
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    translation: Translation | None = None
    source: Contents | None = None
    name: str = ""
    added: Mapping[str, bytes] = MappingProxyType({})
    kept: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None

    @property
    def root(self) -> Path:
        """The folder with the trackers, of the result."""
        assert self.source is not None
        return self.request.output or _root(self.source.place)

    @property
    def written(self) -> list[str]:
        """The files that come, in their order."""
        own = [f"{self.name}/tokenizer/{file.name}" for file in self.tokenizer.files] if self.tokenizer else []
        inside = [*(name for name in self.added if "/" in name), f"{self.name}/{PROVENANCE}"]
        last = [name for name in self.added if "/" not in name]  # trackers
        return [*own, *(name for name in inside if name not in self.kept), *last]


def plan(request: Request) -> Plan:
    """Looks at everything that can be in the way, and works out what is to be written."""
    return _Preflight(request).plan()


class _Preflight:
    """One look: what is in the way is noted, and the rest is looked at."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reasons: list[str] = []
        self.notes: list[str] = []

    def plan(self) -> Plan:
        source = self.source()
        translation = self.translation(source)
        files = self.tokenizer(translation)
        self.place(source)
        if source is None or translation is None or self.reasons or source.saved is None:
            return Plan(self.request, tuple(self.reasons), tuple(self.notes), translation, source)
        name = _with_name(source.place.folder).name
        if self.request.output is not None:
            name = _standard_name(source.place, source.saved)
        here = self.request.output is None
        folder = os.path.realpath(self.request.output or _root(source.place))
        has_tokenizer = self.is_there(source, name, f"{name}/tokenizer")
        if files is not None:
            translation = files.told_in(translation, os.path.join(folder, name, "tokenizer"))
        added = self.files(source, source.saved, translation, name)
        kept = [one for one in (*added, f"{name}/{PROVENANCE}") if self.is_there(source, name, one)]
        if f"{name}/{layout.RUN_CONFIG}" in kept:
            self.about_settings(source.place.folder / layout.RUN_CONFIG)
        if files is not None and has_tokenizer:
            kept.append(f"{name}/tokenizer")
            files = None
        added = {one: content for one, content in added.items() if one not in kept}
        if not added or (not here and not any("/" in one for one in added)):
            self.reasons.append(f"{source.place.folder} is Bridge's already: nothing that Bridge looks for is missing")
        return Plan(
            self.request, tuple(self.reasons), tuple(self.notes), translation, source, name, added, tuple(kept), files
        )

    def is_there(self, source: Contents, name: str, added: str) -> bool:
        """Is what would be written in the result before: in place, or since it is linked?"""
        folder, _, inside = added.rpartition("/")
        if self.request.output is None:
            return os.path.lexists(_root(source.place) / added)
        return folder == name and os.path.lexists(source.place.folder / inside)

    # What there is ----------------------------------------------------------------------------------------------------

    def source(self) -> Contents | None:
        try:
            place = self.chosen()
            if place.kind is not None and place.kind.name == "bridge":  # as far as a part of it may be ours
                place = place._replace(kind=layout.kind_of(place.folder, "bridge") or place.kind)
            found = contents.look_into(place)
        except (CheckpointError, SavedArgsError) as problem:
            self.reasons.append(self.in_other_words(problem))
            return None
        assert found.place.kind is not None
        if (kind := found.place.kind.name) in _ARE or kind == "bridge":
            self.reasons.append(f"{found.place.folder} {_ARE.get(kind, 'is a checkpoint of Megatron Bridge already')}")
            return None
        self.reasons += found.problems
        self.notes += found.notes
        if found.saved is None and (found.place.folder / layout.RUN_CONFIG).is_file():
            self.reasons.append(_of_bridge(found.place.folder))
        elif found.saved is None and not found.problems:
            self.reasons.append(f"{found.place.folder} holds no arguments of Megatron-LM that can be read")
        self.about_tensors(found)
        return found

    def in_other_words(self, problem: UserError) -> str:
        """A checkpoint of Bridge's has no arguments of Megatron-LM."""
        folder = self.request.path
        try:
            folder = self.chosen().folder
        except CheckpointError:
            return str(problem)
        if (folder / layout.RUN_CONFIG).is_file():
            return _of_bridge(folder)
        return str(problem)

    def chosen(self) -> Place:
        """The one iteration that is meant; the tracker's, not the largest."""
        return layout.place_of(self.request.path, self.request.iteration)

    def about_settings(self, file: Path) -> None:
        """A configuration that is there stays, so Bridge must be able to read it."""
        try:
            model = plain.mapping_in(file).get("model")
        except YamlProblem as problem:
            self.reasons.append(f"{problem}; move it away, and another is written")
        else:
            if not isinstance(model, dict):
                self.reasons.append(f"{file} has no section model; move it away, and another is written")

    def about_tensors(self, found: Contents) -> None:
        """That they are those of the arguments; of a file for each rank, that is found out when they are converted."""
        if _is_legacy(found):
            return
        names = [tensor.name for tensor in found.of_model]
        if other := next((name for name in names if name.startswith(_OTHERS)), None):
            self.reasons.append(f'{found.place.folder} is no GPT or hybrid model: it has a tensor "{other[:80]}"')
        rows = rows_of(found)
        said = found.saved.values.get("padded_vocab_size") if found.saved is not None else None
        if rows and isinstance(said, int) and rows != said:
            self.reasons.append(f"{found.place.folder} has an embedding of {rows} rows, and its arguments say {said}")

    # What it means ----------------------------------------------------------------------------------------------------

    def translation(self, source: Contents | None) -> Translation | None:
        if source is None or source.saved is None:
            return None
        request = self.request
        try:
            made = translate_saved(source.saved.values, request.megatron_lm, request.bridge, request.mappings)
        except (UserError, ValueError) as problem:
            self.reasons.append(str(problem))
            return None
        bridge = made.versions.bridge
        if _is_legacy(source):
            self.reasons += legacy.reasons_against(source.saved.values, made, request.output is None)
            self.notes.append(legacy.NOTE)
            return as_saved(legacy.weights_only(made), None)
        if why := of_newer_core(source.place.folder, bridge):
            self.reasons.append(f"{why}; choose a newer one, as with --bridge 0.6.2")
        return as_saved(made, rows_of(source))

    def tokenizer(self, translation: Translation | None) -> Tokenizer | None:
        if self.request.tokenizer is None:
            return None
        saved: dict[str, Any] = (
            {} if translation is None else {name: translation.args[name] for name in translation.args}
        )
        kind, rows = (saved.get(name) for name in ("tokenizer_type", "padded_vocab_size"))
        try:
            found = tokenizer.find(self.request.tokenizer, kind, rows if isinstance(rows, int) else None)
        except UserError as problem:
            self.reasons.append(str(problem))
            return None
        self.notes += found.notes
        return found

    # Where it goes ----------------------------------------------------------------------------------------------------

    def place(self, source: Contents | None) -> None:
        target = self.request.output
        size = 1 << 20
        if target is not None:
            read = [self.request.path, *([source.place.folder] if source is not None else [])]
            read += [self.request.tokenizer] if self.request.tokenizer is not None else []
            if source is not None and (_is_legacy(source) or not _same_disk(source.place.folder, target)):
                size += source.bytes
            self.reasons += dict.fromkeys(output.reasons_against(target, read, size))
        elif source is not None:
            folders = dict.fromkeys([source.place.folder, _root(source.place)])
            self.reasons += [f"{one} cannot be written to" for one in folders if not os.access(one, os.W_OK | os.X_OK)]
            if shutil.disk_usage(source.place.folder).free < size:
                self.reasons.append(f"the disk of {source.place.folder} is full")

    def files(self, source: Contents, saved: Saved, translation: Translation, name: str) -> dict[str, bytes]:
        """What is written beside the tensors, in an order in which nothing ever points to what is not there yet."""
        place, here = source.place, self.request.output is None
        release = _with_name(place.folder).name == "release"
        state = self.state(saved, 0 if release else saved.iteration or place.iteration or 0)
        files = {
            f"{name}/{TRAIN_STATE}": train_state.written(state),
            f"{name}/{layout.RUN_CONFIG}": to_yaml(translation, full=True).encode(),
        }
        tracked = _tracked(_root(place))
        if not here:
            files[layout.MEGATRON_TRACKER] = (b"release" if release else str(state.step).encode()) + b"\n"
        if release:
            self.notes.append(f"{layout.TRACKER} is not written: it can only name an iteration, and this is a release")
        elif here and tracked != _with_name(place.folder).name:
            what = "there is no tracker of Megatron-LM's" if tracked is None else f"Megatron-LM's names {tracked}"
            self.notes.append(
                f"{layout.TRACKER} is not written: {what}; name {place.folder}, or set checkpoint.ckpt_step"
            )
        else:
            files[layout.TRACKER] = files[f"{name}/{TRAIN_STATE}"]
        return files

    def state(self, saved: Saved, step: int) -> TrainState:
        """What Bridge itself would make of these arguments, were there no ``train_state.pt``.

        Verify: megatron/bridge/training/checkpointing.py, _get_train_state_from_state_dict.
        """
        train, skipped, valid = (
            _count(saved.values.get(f"{name}_samples"))
            for name in ("consumed_train", "skipped_train", "consumed_valid")
        )
        if train is None and step:
            self.notes.append(
                "the arguments do not say how many samples were consumed; Bridge begins with the first one again"
            )
        return TrainState(step, train or 0, skipped or 0, valid or 0, saved.operations or 0.0)


def _is_legacy(source: Contents) -> bool:
    return source.place.kind is not None and source.place.kind.name == legacy.KIND


def _of_bridge(folder: Path) -> str:
    return f"{folder} is a checkpoint of Megatron Bridge already: it has a {layout.RUN_CONFIG} and no arguments"


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _root(place: Place) -> Path:
    return _with_name(place.folder).parent


def _with_name(folder: Path) -> Path:
    """Not ``.`` or ``..``, but otherwise as it was typed: a link has the name that it has here."""
    return folder if folder.name not in ("", "..") else folder.resolve()


def _standard_name(place: Place, saved: Saved) -> str:
    if _with_name(place.folder).name == "release":
        return "release"
    step = saved.iteration if saved.iteration is not None else place.iteration
    return layout.folder_of(Path(), step or 0).name


def _tracked(root: Path) -> str | None:
    """The folder that Megatron-LM's tracker names."""
    tracker = root / layout.MEGATRON_TRACKER
    try:
        step = layout.iteration_in(tracker)
    except CheckpointError:
        return None
    return "release" if step is None else layout.folder_of(root, step).name


def _same_disk(one: Path, other: Path) -> bool:
    above = next((folder for folder in (other, *other.absolute().parents) if folder.exists()), None)
    return above is not None and one.stat().st_dev == above.stat().st_dev


# Writing --------------------------------------------------------------------------------------------------------------


def carry_out(plan: Plan, provenance: Provenance, tell: Callable[[str], None]) -> None:
    """Writes what was planned.

    In place every file appears whole, and the tracker last: whenever this is killed, Megatron-LM loads the checkpoint
    as before, and adopting it again goes on.

    Args:
        plan: without reasons against it.
        tell: gets a line for the user.

    Raises:
        OSError: the disk does not take it; a new folder is not there then.
    """
    assert plan.source is not None and plan.translation is not None
    folder = plan.source.place.folder
    provenance.input("checkpoint", folder, _looked_at(plan.source), iteration=plan.source.place.iteration)
    if plan.tokenizer is not None:
        provenance.input("tokenizer", plan.tokenizer.folder, plan.tokenizer.hashes())
    provenance.tell(
        megatron_lm=plan.translation.versions.megatron,
        bridge=plan.translation.versions.bridge,
        lost=[str(without_secrets(loss, plan.translation.secrets)) for loss in plan.translation.losses],
    )
    if plan.request.output is None:
        _write(plan, plan.root, provenance, write_new)
        return
    seen = output.Seen(folder)
    with output.new_folder(plan.request.output) as unfinished:
        if _is_legacy(plan.source):
            legacy.convert(plan.translation, folder, unfinished / plan.name, tell)
        else:
            copied = _linked(folder, unfinished / plan.name)
            provenance.tell(linked=plan.source.files - copied, copied=copied)
            if copied:
                tell(f"{counted(copied, 'file')} could not be linked, and {'was' if copied == 1 else 'were'} copied")
            _as_planned(plan.source, unfinished / plan.name)
        seen.unchanged()
        _write(plan, unfinished, provenance, into)


def _as_planned(source: Contents, made: Path) -> None:
    """Since it was looked at a run may have deleted of it, or saved again.

    Raises:
        UserError: it is not the checkpoint any more that was planned with.
    """
    found = contents.look_into(source.place._replace(folder=made))
    if (found.problems, found.files, found.bytes) != ([], source.files, source.bytes):
        raise UserError(
            f"{source.place.folder} changed while it was adopted, so nothing was made; begin again when nothing writes "
            "there"
        )


def _write(plan: Plan, root: Path, provenance: Provenance, write: Callable[[Path, bytes], None]) -> None:
    folder = root / plan.name
    made: dict[str, Any] = {}
    if plan.tokenizer is not None:
        with output.new_folder(folder / "tokenizer") as unfinished:
            for file in plan.tokenizer.files:
                shutil.copyfile(file, unfinished / file.name)
        made |= {f"tokenizer/{name}": one for name, one in hashes(folder / "tokenizer").items()}
    inside = {name: content for name, content in plan.added.items() if "/" in name}
    for name, content in inside.items():
        write(root / name, content)
        made |= hashes(root / name)
    if not os.path.lexists(folder / PROVENANCE):
        write(folder / PROVENANCE, provenance.text(made).encode())
    for name, content in plan.added.items():
        if name not in inside:
            write(root / name, content)


def into(path: Path, content: bytes) -> None:
    """In a folder that nobody else sees yet; never into a file that was linked there."""
    with path.open("xb") as file:
        file.write(content)


def _looked_at(source: Contents) -> dict[str, dict[str, Any]]:
    """Every file of the checkpoint with its length; the hashes of those that were read."""
    folder = source.place.folder
    read = {folder / name for name in ("metadata.json", layout.INDEX, layout.COMMON)}
    told: dict[str, dict[str, Any]] = {}
    for file in sorted(_files(folder)):
        name = file.relative_to(folder).as_posix()
        told[name] = hashes(file)[file.name] if file in read else {"bytes": file.stat().st_size}
    return told


def _files(folder: Path) -> Iterator[Path]:
    for above, _, names in os.walk(folder):
        for name in names:
            if (file := Path(above, name)).is_file():
                yield file


def _linked(source: Path, target: Path) -> int:
    """A folder of hard links to the files of another, or of copies; returns how many were copied.

    What is a symbolic link there is one here: what it leads to is somebody else's, and is neither copied nor owned.
    """
    copied = 0
    for above, folders, names in os.walk(source):
        here = target / Path(above).relative_to(source)
        here.mkdir()
        for name in (*folders, *names):
            file, place = Path(above, name), here / name
            if file.is_symlink():
                os.symlink(os.path.realpath(file), place)
            elif file.is_file():
                copied += linked_file(file, place)
    return copied


def linked_file(file: Path, place: Path) -> bool:
    """A hard link, or a copy where there can be none; was it copied?"""
    try:
        os.link(file, place)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(file, place)
        return True
    return False
