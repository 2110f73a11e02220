"""The arguments that a few words are about: "router top k", "save every", "grad norm"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from bridge_args.mapping import table as tables
from bridge_args.mapping.rows import Row
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.unknown import near_flags
from bridge_args.records import Record
from bridge_args.versions import Versions

# What people say, and the words Megatron-LM has for it.
_MEANS: Final = {
    "tp": ("tensor", "model", "parallel"),
    "pp": ("pipeline", "model", "parallel"),
    "cp": ("context", "parallel"),
    "ep": ("expert", "model", "parallel"),
    "etp": ("expert", "tensor", "parallel"),
    "vpp": ("virtual", "pipeline"),
    "gqa": ("group", "query", "attention"),
    "mla": ("multi", "latent", "attention"),
    "bs": ("batch", "size"),
    "gbs": ("global", "batch", "size"),
    "mbs": ("micro", "batch", "size"),
    "ckpt": ("checkpoint",),
    "wd": ("weight", "decay"),
    "learning": ("lr",),
    "rate": ("lr",),
    "gradient": ("grad",),
    "rope": ("rotary",),
    "theta": ("base",),
    "number": ("num",),
    "every": ("interval",),
    "frequency": ("interval",),
}

_NAME, _PATH, _BEGINS, _SIMILAR, _TEXT = 6.0, 4.0, 3.0, 2.0, 1.0  # what a word is worth by where it is found


class Hit(Record):
    """One argument that words may be about; a higher score is nearer.

    Attributes:
        flag: its first spelling.
        what: where it goes, or why not, in a few words.
    """

    argument: str
    flag: str
    what: str
    score: float


class _Entry(Record):
    argument: str
    flag: str
    what: str
    names: frozenset[str]
    paths: frozenset[str]
    text: frozenset[str]
    joined: str
    length: int  # words of its shortest spelling


def search(query: str, versions: Versions, limit: int = 10) -> list[Hit]:
    """The arguments nearest to the words of a query, best first; none where a word is found nowhere.

    Flags, names, settings and reasons are looked at; a query of one word is taken for a name, and only compared with
    names and settings.
    """
    words = _words(query)
    if not words:
        return []
    prose = bool(re.search(r"\s", query.strip()))
    hits = []
    for entry in _entries(versions):
        score = _score(words, entry, prose)
        if score > 0:
            hits.append(Hit(entry.argument, entry.flag, entry.what, round(score, 3)))
    hits.sort(key=lambda hit: (-hit.score, hit.argument))
    return (hits if prose else _spelt_alike(query, hits, versions))[:limit]


def _spelt_alike(query: str, hits: list[Hit], versions: Versions) -> list[Hit]:
    """The flags that a misspelt one was most likely meant to be, in front of the others."""
    found = {hit.argument: hit for hit in hits}
    by_flag = catalogs.load(versions.megatron).by_flag
    near = dict.fromkeys(by_flag[flag].dest for flag in near_flags(query, tuple(by_flag)))
    entries = {entry.argument: entry for entry in _entries(versions) if entry.argument in near}
    first = [found.pop(name, Hit(name, entries[name].flag, entries[name].what, 0.0)) for name in near]
    best = max((hit.score for hit in hits), default=1.0)
    return [*(hit._replace(score=max(hit.score, best)) for hit in first), *found.values()]


def _score(words: Sequence[str], entry: _Entry, prose: bool) -> float:
    total = 0.0
    joined = _joined_words(words, entry)
    for index, word in enumerate(words):
        worth = _NAME if index in joined else _worth(word, entry, prose)
        if worth == 0 and word in _MEANS:
            worth = min(_worth(long, entry, prose) for long in _MEANS[word])
        if worth == 0:
            return 0.0
        total += worth
    if "".join(words) in entry.joined:
        total += _NAME
    # Of two names with the same words, the one that says nothing else.
    return total / len(words) - 0.1 * entry.length


def _joined_words(words: Sequence[str], entry: _Entry) -> set[int]:
    """Neighbours that are one word in the name: "top k" in moe_router_topk."""
    pairs = ((index, words[index] + words[index + 1]) for index in range(len(words) - 1))
    return {at for index, pair in pairs if pair in entry.names for at in (index, index + 1)}


def _worth(word: str, entry: _Entry, prose: bool) -> float:
    if word in entry.names:
        return _NAME
    if word in entry.paths:
        return _PATH
    if len(word) >= 3 and any(name.startswith(word) for name in entry.names | entry.paths):
        return _BEGINS
    if len(word) >= 4 and difflib.get_close_matches(word, entry.names, n=1, cutoff=0.8):
        return _SIMILAR
    if prose and (word in entry.text or (len(word) >= 5 and any(text.startswith(word) for text in entry.text))):
        return _TEXT
    return 0.0


@lru_cache(maxsize=4)
def _entries(versions: Versions) -> tuple[_Entry, ...]:
    """What can be found, once for each pair of versions."""
    catalog, rows = catalogs.load(versions.megatron), tables.load(versions).rows
    entries = []
    for dest in catalog.defaults:
        row = rows.get(dest)
        flags = catalog.flags_of(dest)
        paths = row.to if row else ()
        text = f"{row.reason} {row.note} {' '.join(row.feeds)} {row.area}" if row else ""
        names = frozenset(_words(" ".join((dest, *flags))))
        joined = " ".join("".join(_words(name)) for name in (dest, *flags))
        length = min(len(_words(name)) for name in (dest, *flags))
        first = flags[0] if flags else dest
        in_paths, in_text = frozenset(_words(" ".join(paths))), frozenset(_words(text))
        entries.append(_Entry(dest, first, _what(row), names, in_paths, in_text, joined, length))
    return tuple(entries)


def _what(row: Row | None) -> str:
    """What becomes of an argument, in a few words."""
    if row is None:
        return "no row"
    if row.to:
        return ", ".join(row.to)
    more = row.reason or ", ".join((*row.feeds, *row.sections))
    return row.fate.replace("_", " ") + (f": {more}" if more else "")


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
