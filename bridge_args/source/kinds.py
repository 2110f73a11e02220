"""What a text is, by what stands in it; asked of every source, so it needs nothing else."""

from __future__ import annotations

import re
from typing import Final

BEGIN: Final = re.compile(r"-{10,} (?:updated )?arguments -{10,}")


def is_log(text: str) -> bool:
    """Does the text hold the arguments as Megatron-LM prints them?"""
    return BEGIN.search(text) is not None and ".." in text


def is_wandb(text: str) -> bool:
    """Is this the ``config.yaml`` of a run in wandb: a value below every name?"""
    return re.search(r"^(wandb_version: 1|_wandb:)\s*$", text, re.MULTILINE) is not None


def is_words(text: str) -> bool:
    """Is the first word of the text a flag?"""
    first = next((line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"), "")
    return re.match(r"--[a-z]", first) is not None


def is_primus(text: str) -> bool:
    """Is this an experiment of Primus: modules with a framework and overrides?"""
    return (
        re.search(r"^modules:\s*$", text, re.MULTILINE) is not None
        and re.search(r"^\s+framework:\s*megatron\s*$", text, re.MULTILINE) is not None
    )


def is_python(text: str, name: str) -> bool:
    """Is this a recipe of Bridge in Python, or another program?"""
    if text.startswith("#!"):
        return False
    return name.endswith(".py") or re.search(r"^def pretrain_config\(\)", text, re.MULTILINE) is not None
