"""The files of a tokenizer that go with a checkpoint, and what Bridge's configuration then says of it.

Bridge keeps them in ``tokenizer/`` of an iteration, under names that depend on the type.
Verify: megatron/bridge/training/checkpointing.py, save_tokenizer_assets; training/tokenizers/utils.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint import tensors
from bridge_args.convert import hugging_face
from bridge_args.convert.provenance import hashes
from bridge_args.errors import UserError
from bridge_args.files import json_of, read_bytes
from bridge_args.mapping.translation import Assignment, Origin, Translation
from bridge_args.records import Record
from bridge_args.wording import listed

_LARGEST: Final = 128 << 20  # bytes of tokenizer.json; those with 250,000 tokens have 35 MB
_HUGGING_FACE: Final = (
    *hugging_face.TOKENIZER,
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"),
    *("chat_template.jinja", "chat_template.json"),
)
# Type to the files it needs, and the setting that names each; the first is the folder's where there is no file.
_OF_FILES: Final = {
    "GPT2BPETokenizer": {"vocab.json": "tokenizer.vocab_file", "merges.txt": "tokenizer.merge_file"},
    "BertWordPieceLowerCase": {"vocab.txt": "tokenizer.vocab_file"},
    "BertWordPieceCase": {"vocab.txt": "tokenizer.vocab_file"},
    "SentencePieceTokenizer": {"tokenizer.model": "tokenizer.tokenizer_model"},
    "GPTSentencePieceTokenizer": {"tokenizer.model": "tokenizer.tokenizer_model"},
    "Llama2Tokenizer": {"tokenizer.model": "tokenizer.tokenizer_model"},
    "TikTokenizer": {"tokenizer.json": "tokenizer.tokenizer_model"},
}


class Tokenizer(Record):
    """Files that go with a checkpoint.

    Attributes:
        folder: where they are.
        kind: the type that Bridge builds of them.
        files: those that are copied.
        notes: for the user.
    """

    folder: Path
    kind: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    def hashes(self) -> dict[str, dict[str, Any]]:
        return {name: one for file in self.files for name, one in hashes(file).items()}

    def told_in(self, translation: Translation, folder: str) -> Translation:
        """A translation whose tokenizer is the one in ``folder``."""
        settings: dict[str, str] = {"tokenizer.tokenizer_type": self.kind}
        if self.kind in _OF_FILES:
            settings |= {path: os.path.join(folder, name) for name, path in _OF_FILES[self.kind].items()}
        else:
            settings["tokenizer.tokenizer_model"] = folder
        origin = Origin("flag", (), "--tokenizer of checkpoint adopt")
        before = {one.path: one for one in translation.assignments}
        made = {
            path: Assignment(path, value, origin, translation.outcomes[path.partition(".")[2]].row)
            for path, value in settings.items()
            if path not in before or before[path].value != value
        }
        kept = tuple(one for one in translation.assignments if one.path not in made)
        return translation._replace(assignments=(*kept, *made.values()))


def find(folder: Path, kind: str | None, rows: int | None) -> Tokenizer:
    """The tokenizer in a folder.

    Args:
        kind: the type that the run has used; None: not known.
        rows: of the model's embedding.

    Raises:
        UserError: there is no such folder, none of the files is there, or it has more tokens than the model.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder with a tokenizer" if folder.exists() else f"{folder} does not exist")
    needed = _OF_FILES.get(kind or "", {})
    if needed and all((folder / name).is_file() for name in needed):
        return Tokenizer(folder, kind or "", tuple(folder / name for name in needed), ())
    files = tuple(folder / name for name in _HUGGING_FACE if (folder / name).is_file())
    if not {"tokenizer.json", "tokenizer_config.json"}.intersection(file.name for file in files):
        wanted = listed([*needed]) if needed else "tokenizer.json, or tokenizer_config.json with a vocabulary"
        raise UserError(f"{folder} has no tokenizer: it needs {wanted}")
    vocabularies = [file for file in files if file.name in hugging_face.TOKENIZER]
    if not vocabularies:
        raise UserError(f"{folder} has no vocabulary: neither tokenizer.json, nor tokenizer.model, nor another")
    if pointer := next((file for file in vocabularies if tensors.is_pointer(file)), None):
        raise UserError(tensors.said_of_pointer(pointer))
    notes = []
    if kind != "HuggingFaceTokenizer":
        notes.append(
            f"the run used {kind or 'a tokenizer that is not known'}; the configuration now says HuggingFaceTokenizer"
        )
    last = _last_token(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else None
    if last is not None and rows is not None and last >= rows:
        raise UserError(f"{folder} has a token {last}, and the embedding of the model has {rows} rows")
    if (folder / "tokenizer_config.json").is_file() and "auto_map" in _mapping(folder / "tokenizer_config.json"):
        notes.append(f"{folder} names code of its own, which is not copied")
    return Tokenizer(folder, "HuggingFaceTokenizer", files, tuple(notes))


def _last_token(file: Path) -> int | None:
    """The largest number of a token; None where the file does not say it in a known way."""
    said = _mapping(file)
    model, added = said.get("model"), said.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if isinstance(vocabulary, list):
        numbers = [len(vocabulary) - 1]
    numbers += [one.get("id") for one in added if isinstance(one, dict)] if isinstance(added, list) else []
    return max((number for number in numbers if type(number) is int), default=None)


def _mapping(file: Path) -> dict[str, Any]:
    try:
        said = json_of(read_bytes(file, _LARGEST).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(said, dict):
        raise UserError(f"{file} holds no mapping")
    return said
