"""What to say about a flag that a Megatron-LM version does not have; only read when there is such a flag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.versions import PROVEN, number

_USUAL = PROVEN.megatron  # looked at first: reading one catalog is quicker than reading all

# Flag as typed -> every version that has it, oldest first, with what it is there.
History = Callable[[str], Mapping[str, Argument]]


def versions_with(flag: str) -> dict[str, Argument]:
    """The versions that have the flag, oldest first; reads all catalogs."""
    found = {}
    for version in catalogs.versions():
        argument = catalogs.load(version).by_flag.get(flag)
        if argument is not None:
            found[version] = argument
    return found


@lru_cache(maxsize=None)
def _ever_known() -> frozenset[str]:
    """Every flag of every version, old ones too; reads all catalogs."""
    from bridge_args.megatron_lm import retired_flags

    old = filter(retired_flags.is_telling, retired_flags.RETIRED)
    return frozenset([*old, *(flag for version in catalogs.versions() for flag in catalogs.load(version).by_flag)])


def is_known(flag: str) -> bool:
    """Has some version of Megatron-LM, of whatever time, a flag of that name?"""
    if flag in catalogs.load(_USUAL).by_flag:
        return True
    from bridge_args.megatron_lm import retired_flags

    return flag in _ever_known() or flag in retired_flags.RETIRED


def are_mostly_known(words: Iterable[str]) -> bool:
    """Are most of the options among the words those of some Megatron-LM version? True where there are none."""
    flags = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
    newest = catalogs.load(_USUAL).by_flag
    if not flags or 2 * sum(flag in newest for flag in flags) > len(flags):
        return True
    return 2 * len(flags & _ever_known()) > len(flags)


def remedy(flag: str, catalog: Catalog, history: History, present: frozenset[str]) -> str:
    """What to write instead of ``flag``, which ``catalog`` does not have."""
    here = catalog.by_flag.get(flag)
    if here is not None and here.requires is not None:
        return f"Megatron-LM has it only where {here.requires.replace('_', '-')} is installed"
    having = history(flag)
    if having:
        instead = _today([*having.values()][-1], catalog) or _dropped_or_later(flag, having, catalog)
        return (f"{instead}; " if instead else "") + _eras(having, catalog.version)
    gone = remedy_of_old(flag)
    if gone:
        return gone
    stored = _of_its_name(flag, catalog)
    if stored:
        return stored
    near = near_flags(flag, tuple(name for name, found in catalog.by_flag.items() if _exists(found, present)))
    return f"did you mean {' or '.join(near)}?" if near else "leave it out; no Megatron-LM version known here has it"


def _of_its_name(flag: str, catalog: Catalog) -> str:
    """What to write where the flag is called like the name under which Megatron-LM stores an argument."""
    name = flag.lstrip("-").replace("-", "_")
    if f"--{name.replace('_', '-')}" in catalog.by_flag or f"--{name}" in catalog.by_flag:
        return ""  # only its dashes are wrong
    today = _today(Argument((flag,), name), catalog)
    return f"{today}, which Megatron-LM stores under that name" if today.startswith("write") else today


def _today(argument: Argument, catalog: Catalog) -> str:
    """What to write for an argument that is stored under the same name here; empty where none is.

    A switch is not exchanged for one that says the opposite.
    """
    setting = [other for other in catalog.arguments if other.dest == argument.dest]
    off = argument.action == "store_false"
    alike = [other for other in setting if (other.action == "store_false") == off]
    if alike:
        return f"write {alike[0].flags[0]}"
    return f"leave it out: it is {'off' if off else 'on'} unless {setting[0].flags[0]} is given" if setting else ""


def instead_of(flag: str, before: Catalog, after: Catalog) -> str:
    """What to write in one version for a flag that another one has; empty where nobody knows."""
    return _today(before.by_flag[flag], after) or _dropped_or_later(flag, (before.version,), after)


def _dropped_or_later(flag: str, having: Iterable[str], catalog: Catalog) -> str:
    """What to write for a flag that versions before this one have dropped, or that only later ones call so."""
    from bridge_args.megatron_lm import retired_flags

    if all(number(version) < number(catalog.version) for version in having):
        return retired_flags.INSTEAD.get(flag, "")
    earlier = [old for old in catalog.by_flag if retired_flags.INSTEAD.get(old) == f"write {flag}"]
    return f"write {earlier[0]}" if earlier else ""


def remedy_of_old(flag: str) -> str:
    """What to write instead of a flag from before the catalogs, or of a fork; empty where it is neither."""
    from bridge_args.megatron_lm import fork_flags, retired_flags

    return retired_flags.remedy_of(flag) or fork_flags.remedy_of(flag)


@lru_cache(maxsize=256)
def near_flags(typed: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags most likely meant, best first: the same letters, then longer ones that begin so, then similar ones."""
    plain = _plain(typed)
    if not plain:
        return ()
    by_plain: dict[str, str] = {}
    for flag in flags:
        by_plain.setdefault(_plain(flag), flag)
    if plain in by_plain:
        return (by_plain[plain],)
    longer = sorted((name for name in by_plain if name.startswith(plain)), key=len)
    if longer and len(plain) >= 3:
        nearly = [name for name in longer if len(name) - len(plain) <= 2]
        return tuple(by_plain[name] for name in (nearly or longer)[:3])
    import difflib  # only for messages

    close = difflib.get_close_matches(plain, by_plain, n=3, cutoff=0.75)
    # One that is clearly nearer than the others stands alone.
    ratios = {name: difflib.SequenceMatcher(None, name, plain).ratio() for name in close}
    return tuple(by_plain[name] for name, ratio in ratios.items() if ratio >= max(ratios.values()) - 0.04)


def _plain(flag: str) -> str:
    return flag.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2212").replace("_", "-").lower()


def _exists(argument: Argument, present: frozenset[str]) -> bool:
    return argument.requires is None or argument.requires in present


def _eras(having: Mapping[str, Argument], wanted: str) -> str:
    """The versions that have a flag, in runs without a gap: "only Megatron-LM 0.11.0 to 0.13.1 has it"."""
    order = catalogs.versions()
    runs: list[list[str]] = []
    for version in having:
        if runs and version in order and order[: order.index(version)][-1:] == (runs[-1][-1],):
            runs[-1].append(version)
        else:
            runs.append([version])
    texts = [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    verb = "had" if all(number(version) < number(wanted) for version in having) else "has"
    return f"only Megatron-LM {' and '.join(texts)} {verb} it"
