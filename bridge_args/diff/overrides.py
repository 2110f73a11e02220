"""The overrides that make a run of a recipe, as Bridge's ``process_config_with_overrides`` takes them.

Unlike ``emit.hydra``, which begins with Bridge's defaults, they begin with what the recipe holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bridge_args.diff.compare import ABSENT_TEXT, MACHINE_TEXT, Compared, Difference
from bridge_args.emit.hydra import literal
from bridge_args.emit.layout import INSTANTIATED, has_target, keeps_function
from bridge_args.emit.run_config import plain_settings
from bridge_args.mapping.translation import Translation

TARGET: Final = "_target_"


def overrides(compared: Compared, recipe: Translation, run: Translation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hydra's words, and the settings that no word changes.

    A section that is one word or None in the recipe, or an object of another class, is written whole.

    Verify: ``_apply_overrides``, ``_restore_excluded_fields`` in ``megatron/bridge/training/utils/omegaconf_utils.py``.
    """
    said: list[str] = []
    unsaid: list[str] = []
    sections = plain_settings(recipe), plain_settings(run)
    whole: list[str] = []
    for one in compared.differences:
        section = one.path.partition(".")[0]
        if section not in whole and _is_whole(*(side.get(section) for side in sections)):
            whole.append(section)
            said += _section(section, sections[1].get(section))
        if section in whole:
            unsaid += [one.path] if _keeps_old(one, run) else []
            continue
        words = list(_words(one, run))
        said += words
        unsaid += [] if words else [one.path]
    return tuple(said), tuple(unsaid)


def _is_whole(recipe: Any, run: Any) -> bool:
    """Can the section of the run be written only as one?"""
    if not isinstance(recipe, dict) or not isinstance(run, dict):
        return recipe is not run
    return bool(recipe.get(TARGET) != run.get(TARGET))


def _section(name: str, run: Any) -> Iterator[str]:
    if not isinstance(run, dict):
        yield f"{name}={literal(run, 1)}"
        return
    yield f"{name}=null"
    yield f"++{name}={literal(run, INSTANTIATED)}"


def _words(one: Difference, run: Translation) -> Iterator[str]:
    old, new = one.left.value, one.right.value
    if "." not in one.path or one.path.endswith(TARGET) or new == MACHINE_TEXT or _keeps_old(one, run):
        return
    if new == ABSENT_TEXT:
        yield f"~{one.path}"
        return
    if has_target(new) and not (isinstance(new, dict) and TARGET in new):  # Bridge builds no objects inside a list
        return
    try:
        readings = INSTANTIATED if isinstance(new, dict) and TARGET in new else 1
        yield f"{'++' if old in (ABSENT_TEXT, MACHINE_TEXT) else ''}{one.path}={literal(new, readings)}"
    except ValueError:  # Hydra's grammar has no way to write it
        return


def _keeps_old(one: Difference, run: Translation) -> bool:
    return keeps_function(one.path.rpartition(".")[2], one.left.value, run.versions)
