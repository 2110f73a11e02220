"""What stands before a command line, for another version: the launcher, the program, and variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from bridge_args.megatron_lm.changed_environment import Variable
from bridge_args.modernize import hybrid
from bridge_args.modernize.items import Item

_OLD_LAUNCHER: Final = "torch.distributed.launch"
_NEW_LAUNCHER: Final = "torch.distributed.run"
_LAUNCHER: Final = (
    f"PyTorch has deprecated {_OLD_LAUNCHER}; {_NEW_LAUNCHER} is torchrun, and tells a process its rank by LOCAL_RANK"
)
_USE_ENV: Final = ("--use-env", "--use_env")


def front_of(words: Sequence[str], was: str, now: str, to_hybrid: bool) -> list[Item]:
    """What stands there for the later version.

    Args:
        was, now: the program that the arguments are for, in the earlier and the later version.
        to_hybrid: it was for GPT models.
    """
    items = [Item((word,), (word,), (), "") for word in words]
    launcher = next((at for at, word in enumerate(words) if word == _OLD_LAUNCHER and words[at - 1] == "-m"), None)
    if launcher:
        items[launcher] = items[launcher].becomes((_NEW_LAUNCHER,), _LAUNCHER)
        for at in range(launcher + 1, len(items)):
            if items[at].was[0] in _USE_ENV:
                items[at] = items[at].becomes((), f"{_NEW_LAUNCHER} always does so")
    if items:  # the arguments stand behind the program
        word, why = items[-1].was[0], ""
        if to_hybrid:
            word, why = hybrid.program_of(word), "the program for models with a pattern"
        elif was != now:
            word, why = word.replace(was, now), f"{was} is a deprecated name of it"
        if word != items[-1].was[0]:
            items[-1] = items[-1].becomes((word,), why)
    return items


def with_variables(
    front: Sequence[Item], environment: Mapping[str, str], changed: Mapping[str, Variable]
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """What stands there with variables that change; and those that are set elsewhere.

    Args:
        environment: what the source sets.
        changed: variables that change, each with the rule that says to what.
    """
    items, elsewhere = list(front), []
    for name, rule in changed.items():
        old, new = environment.get(name), f"{name}={rule.becomes[name]}"
        words = [_with(item, name, old, new, rule) for item in items]
        if any(found != item.words for found, item in zip(words, items, strict=True)):
            items = [
                item.becomes(found, rule.says) if found != item.words else item
                for found, item in zip(words, items, strict=True)
            ]
        else:
            was = () if old is None else (f"{name}={old}",)
            elsewhere.append(Item((new,), was, (), "", rule.says, rule.names))
    return tuple(items), tuple(elsewhere)


def _with(item: Item, name: str, old: str | None, new: str, rule: Variable) -> tuple[str, ...]:
    """The words where they set the variable, or one that a new one belongs to; else as they are."""
    if not item.words:
        return ()
    (word,) = item.words[:1]
    if old is not None:
        return (re.sub(rf"(?<![\w$]){name}={re.escape(old)}(?![^,\s])", new, word), *item.words[1:])
    for beside in rule.names:
        if word.startswith(f"{beside}="):
            return (*item.words, new)
        if re.search(rf"[,=]{beside}=", word):
            return (f"{word},{new}", *item.words[1:])
    return item.words
