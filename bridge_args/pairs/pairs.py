"""The pair of versions that a translation is for: what is asked, what is installed, and what there is data for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from bridge_args.bridge import installed
from bridge_args.bridge import schema as bridge_schema
from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.pairs import detect
from bridge_args.versions import PROVEN, Versions, nearest, number, proven_with, usual_for

# A version as people write it: with the beginning of a tag or of a release branch, and as a candidate.
_TAG: Final = re.compile(r"(?:core_)?[vr]?(\d+\.\d+(?:\.\d+)?)(?:rc\d+)?")


def usual_megatron_lm(bridge: str | None = None) -> str:
    """The version that is meant where nothing speaks of one: that which goes with the Bridge.

    Args:
        bridge: what is asked for; None for the installed one, else that of the newest proven pair.
    """
    return usual_for(bridge or installed.version() or PROVEN.bridge)


def megatron_lm_of(
    words: Sequence[str] = (),
    text: str = "",
    name: str = "the script",
    saved: Mapping[str, object] | None = None,
    program: str = "",
    bridge: str | None = None,
) -> tuple[str, tuple[Finding, ...]]:
    """The version that a source speaks of where nobody names one, and why.

    Args:
        words: a command line.
        text, name: the script around it.
        saved: effective values that a run has saved, instead.
        program: the name of the program that the words are for.
        bridge: the Bridge that is asked for; None for the installed one.
    """
    if saved is not None:
        version, why = detect.version_with(saved)
        return version, (Finding("assumed-version", f"Megatron-LM {version} is assumed: {why}"),)
    version, why = detect.detect(words, usual_megatron_lm(bridge), text, name, program)
    if not why:
        return version, ()
    message = f"Megatron-LM {version} is assumed: {why}"
    return version, (Finding("assumed-version", message, "set another with --megatron-lm VERSION, or name a checkout"),)


def chosen_versions(megatron_lm: str | None = None, bridge: str | None = None) -> Versions:
    """The pair of versions meant by two texts; None for the defaults.

    Raises:
        ValueError: when there is no catalog or schema for one of them.
    """
    megatron = megatron_version(megatron_lm or usual_megatron_lm(bridge))
    return Versions(megatron, bridge_version(bridge, megatron))


def megatron_version(text: str) -> str:
    """A catalog version from a version, a tag (``core_v0.19.2``) or the path of a checkout.

    Raises:
        ValueError: when it is none of them, or of a series that has no catalog.
    """
    if of_checkout.is_checkout(text):
        return nearest(of_checkout.version_of(text), catalogs.versions())
    if text in catalogs.versions():
        return text
    tag = _TAG.fullmatch(text)
    if tag and (same := [one for one in catalogs.versions() if number(one)[:2] == number(tag[1])[:2]]):
        return nearest(tag[1], tuple(same))
    raise WrongValue(f"no catalog of Megatron-LM {text}; there are {', '.join(catalogs.versions())}")


def bridge_version(text: str | None, megatron: str = PROVEN.megatron) -> str:
    """A schema version from a version, or from what is installed; else of the newest that is proven.

    Args:
        text: a version; None where nobody names one.
        megatron: the version of Megatron-LM that it is to be proven with, where there is such a Bridge.

    Raises:
        ValueError: when there is no schema of that version's series.
    """
    text = text or installed.version() or proven_with(megatron)
    known = bridge_schema.versions()
    if text in known:
        return text
    same = tuple(version for version in known if number(version)[:2] == number(text)[:2])
    if not same:
        raise WrongValue(f"no schema of Megatron Bridge {text}; there are {', '.join(known)}")
    return nearest(text, same)


def about_megatron_lm(text: str | None, version: str) -> tuple[Finding, ...]:
    """What is to be said where the arguments are not those of the very Megatron-LM that is asked for.

    Args:
        text: what is asked for; None where nothing is.
        version: what ``megatron_version`` has made of it.
    """
    tag = _TAG.fullmatch(text or "")
    if tag is None or tag[1] in (version, version.rpartition(".")[0]):  # that version, or any of the series
        return ()
    message = f"Megatron-LM {version} is assumed: of the series of {tag[1]} its arguments are known"
    return (Finding("assumed-version", message, "a checkout is asked itself: --megatron-lm FOLDER"),)


def about_bridge(text: str | None, version: str) -> tuple[Finding, ...]:
    """What is to be said where the settings are not those of the very Bridge that is asked for, or installed.

    Args:
        text: what is asked for; None for what is installed.
        version: what ``bridge_version`` has made of it.
    """
    meant = text or installed.version() or version
    if meant == version:
        return ()
    whose = "asked for" if text else "installed"
    message = f"Bridge {version} is assumed: {meant} is {whose}, and of its series the settings of {version} are known"
    return (Finding("assumed-version", message, "`bridge-args validate` asks the installed Bridge itself"),)
