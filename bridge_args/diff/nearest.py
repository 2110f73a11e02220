"""The recipe of Bridge that is nearest to a run, and the overrides that make this run of it.

What the recipes hold was read from the real ones (``python -m bridge_args.dev recipes``); those that fetch a model's
configuration from Hugging Face are not among them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from bridge_args.diff.compare import Compared, compare
from bridge_args.diff.show import shown
from bridge_args.emit.hydra import literal
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.records import Record
from bridge_args.source.bridge_config import from_bridge_config
from bridge_args.steps import Asked, translated

FOLDER: Final = Path(__file__).parent / "recipes"


class Nearest(Record):
    """A recipe, by its whole name, and how the run differs from it.

    Attributes:
        title: ``nemotronh 8b pretraining``.
        compared: the recipe on the left, the run on the right.
        among: how many recipes were compared.
        left_out: how many Bridge has beside them.
    """

    name: str
    title: str
    compared: Compared
    among: int
    left_out: int

    @property
    def overrides(self) -> tuple[str, ...]:
        """Hydra's overrides for the recipe's own configuration."""
        return tuple(text for _, text in _overrides(self.compared) if text)

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Settings that no override can change: a class, what is not there."""
        return tuple(path for path, text in _overrides(self.compared) if not text)


def nearest(t: Translation, name: str = "the run") -> Nearest:
    """The recipe that has the fewest settings of other numbers, and of several the fewest others.

    Raises:
        UserError: there are no recipes of this version of Bridge.
    """
    recipes, left_out = _held(t.schema.version)
    found = []
    for recipe, text in recipes.items():
        other = translated(from_bridge_config(text, recipe), Asked(bridge=t.schema.version, world_size=t.world_size))
        compared = compare(other, t, (recipe, name))
        found.append((len(compared.of("numbers")), len(compared.differences), recipe, compared))
    _, _, recipe, compared = min(found, key=lambda one: one[:3])
    return Nearest(recipe, _title(recipe), compared, len(recipes), left_out)


@cache
def _held(bridge: str) -> tuple[dict[str, str], int]:
    file = FOLDER / f"{bridge}.json.gz"
    if not file.is_file():
        known = ", ".join(sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz")))
        raise UserError(f"no recipes of Bridge {bridge} are known; there are those of {known}")
    data = json.loads(gzip.decompress(file.read_bytes()))
    return data["recipes"], data["left_out"]


def _title(name: str) -> str:
    return name.rpartition(".")[2].removesuffix("_config").replace("_pretrain", " pretraining").replace("_", " ")


def _overrides(compared: Compared) -> Iterator[tuple[str, str]]:
    for one in compared.differences:
        value = one.right.value
        if (
            one.path.endswith("_target_")
            or "." not in one.path
            or shown(value) in ("not there", "decided by the machine")
        ):
            yield one.path, ""
            continue
        try:
            yield one.path, f"{one.path}={literal(value, 1)}"
        except ValueError:
            yield one.path, ""
