"""The recipe of Bridge that is nearest to a run, and the overrides that make this run of it.

What the recipes hold was read from the real ones (``python -m bridge_args.dev recipes``). For those that ask Hugging
Face for the configuration of a model, what public models say there is data of the maker, ``dev/hf_configs.yaml``.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

from bridge_args.diff.compare import Compared, compare, is_same
from bridge_args.diff.groups import group_of, read_by_neither
from bridge_args.diff.overrides import overrides
from bridge_args.diff.titles import title_of
from bridge_args.emit.effective import effective
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.records import Record
from bridge_args.source.bridge_config import from_bridge_config
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated

SHORTLIST: Final = 16
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
FOLDER: Final = Path(__file__).parent / "recipes"


class Nearest(Record):
    """A recipe, by its whole name, and how the run differs from it.

    Attributes:
        title: ``Nemotron-H 8B pretraining``.
        compared: the recipe on the left, the run on the right.
        overrides: Hydra's overrides for the recipe's own configuration.
        unsaid: settings that no override can change: a function that Bridge puts back, what the machine decides.
        among: how many recipes were compared.
        left_out: those that could not be read.
    """

    name: str
    title: str
    compared: Compared
    among: int
    left_out: tuple[str, ...]
    overrides: tuple[str, ...]
    unsaid: tuple[str, ...]


def nearest(t: Translation, name: str = "the run") -> Nearest:
    """The recipe that has the fewest settings of other numbers, and of several the fewest others.

    Raises:
        UserError: there are no recipes of this version of Bridge.
    """
    recipes, left_out = _held(t.schema.version)
    found = []
    for recipe in _shortlist(t, recipes):
        text = recipes[recipe]
        other = translated(from_bridge_config(text, recipe), Asked(bridge=t.schema.version, world_size=t.world_size))
        compared = compare(other, t, (recipe, name))
        found.append((len(compared.of("numbers")), len(compared.differences), recipe, compared, other))
    _, _, recipe, compared, other = min(found, key=lambda one: one[:3])
    left = tuple(map(title_of, left_out))
    return Nearest(recipe, title_of(recipe), compared, len(recipes), left, *overrides(compared, other, t))


def recipe_named(name: str, bridge: str) -> Source | None:
    """A recipe of Bridge as a source, by its name with or without its module; None where it is no name of one.

    Args:
        bridge: version of Bridge.

    Raises:
        UserError: it looks like one, and no recipe of this version is called so.
    """
    if not re.fullmatch(r"(?:[a-z_]\w*\.)*[a-z]\w*_config", name) or not (FOLDER / f"{bridge}.json.gz").is_file():
        return None
    recipes, left_out = _held(bridge)
    short = {whole.rpartition(".")[2]: whole for whole in recipes}
    whole = name if name in recipes else short.get(name)
    if whole is not None:
        return from_bridge_config(recipes[whole], whole)
    if any(name in (one, one.rpartition(".")[2]) for one in left_out):
        raise UserError(f"{name} is a recipe of Bridge {bridge} whose settings are not known here")
    near = get_close_matches(name.rpartition(".")[2], short, cutoff=0.5) or sorted(short)[:1]
    raise UserError(
        f"there is no file {name}, and no recipe of Bridge {bridge} is called so; near it: {', '.join(near)}"
    )


def _shortlist(t: Translation, recipes: Mapping[str, str]) -> list[str]:
    """Those worth a comparison: the ``SHORTLIST`` with the fewest lines that say something else than this run."""
    of_run = effective(t)
    bridge = t.schema.version

    def distance(recipe: str) -> tuple[int, int]:
        of_recipe = _lines(recipes[recipe])
        other = [
            path
            for path, value in of_recipe.items()
            if path not in of_run or not (_is_nested(value, of_run[path]) or is_same(value, of_run[path]))
        ]
        other += [path for path in of_run if path.startswith("model.") and path not in of_recipe]
        other = [path for path in other if not read_by_neither(path, bridge, (of_recipe, of_run))]
        return sum(group_of(path, bridge) == "numbers" for path in other), len(other)

    return sorted(recipes, key=distance)[:SHORTLIST]


def _is_nested(*values: Any) -> bool:
    """Is one of them more than a line says?"""
    return any(isinstance(value, (dict, list)) for value in values)


def _lines(text: str) -> dict[str, Any]:
    """``section.setting`` and its value, of the lines of a recipe, as Bridge's dumper writes them; [] for lists."""
    found: dict[str, Any] = {}
    section = ""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not line.startswith(" "):
            section = name
        elif colon and line.startswith("  ") and line[2] not in " -":
            found[f"{section}.{name.strip()}"] = _scalar(value.strip()) if value.strip() else []
    return found


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    try:
        return float(text)
    except ValueError:
        return text.strip("'\"")


@cache
def _held(bridge: str) -> tuple[dict[str, str], list[str]]:
    file = FOLDER / f"{bridge}.json.gz"
    if not file.is_file():
        known = ", ".join(sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz")))
        raise UserError(f"no recipes of Bridge {bridge} are known; there are those of {known}")
    data = json.loads(gzip.decompress(file.read_bytes()))
    sections = data["sections"]
    return {name: "".join(sections[one] for one in parts) for name, parts in data["recipes"].items()}, data["left_out"]
