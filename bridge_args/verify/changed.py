"""A run config of the user's own in place of the translated one, so that a configuration made by hand can be verified.

Read as data. A class it names is looked up only if it is one that Bridge's own configurations name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from bridge_args.errors import UserError
from bridge_args.verify.cause import ABSENT

RunConfig = dict[str, Any]

# Bridge's own configurations name its classes, those of Megatron Core (megatron.training since 0.17), types and
# activations of PyTorch, and a signal.
_NAMED: Final = re.compile(
    r"megatron\.(bridge|core|training)\.[\w.]+"
    r"|torch\.(float|bfloat|half|int|uint|long|double|bool)\w*"
    r"|torch\._C\._nn\.\w+|torch\.nn\.functional\.\w+"
    r"|functools\.partial|signal\.Signals"
)


class ChangeError(UserError, ValueError):
    """The file or the override cannot be used; the message is for the user."""


def change(text: str | None, name: str, overrides: Sequence[str]) -> Callable[[RunConfig], RunConfig] | None:
    """What makes of a translated run config the one that is to be verified; None when it is that one.

    Args:
        text: YAML of a complete run config, as Bridge writes it; None: the translated one.
        name: of its file.
        overrides: ``section.setting=value``, in Hydra's syntax.

    Raises:
        ChangeError: the YAML is none, names something that is not looked up, or an override is none.
    """
    if text is None and not overrides:
        return None
    own = _read(text, name) if text is not None else None
    edits = [_override(override) for override in overrides]

    def changed(translated: RunConfig) -> RunConfig:
        config = own if own is not None else translated
        return _with(config, edits)

    return changed


def _read(text: str, name: str) -> RunConfig:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ChangeError(f"{name} is not YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ChangeError(f"{name} is not a run config of Bridge: it has no model section")
    for path, target in _targets(config, ""):
        if not isinstance(target, str) or not _NAMED.fullmatch(target):
            raise ChangeError(f"{name}: {path} names {target}, which is no class of Bridge, and is not looked up")
    return config


def _targets(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = f"{path}.{key}" if path else str(key)
            if key == "_target_":
                yield below, item
            else:
                yield from _targets(item, below)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _targets(item, f"{path}[{index}]")


def _override(text: str) -> tuple[str, Any]:
    """Path and value, by Hydra's own parser."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
        if override.is_delete() or override.is_sweep_override():
            raise ChangeError(f"{text}: only PATH=VALUE is understood here")
        return override.key_or_group, override.value()
    except HydraException as problem:
        raise ChangeError(f"{text} is no override: {str(problem).splitlines()[0]}; write PATH=VALUE") from problem


def _with(config: RunConfig, edits: Sequence[tuple[str, Any]]) -> RunConfig:
    import copy

    config = copy.deepcopy(config)
    for path, value in edits:
        *sections, leaf = path.split(".")
        holder: Any = config
        for section in sections:
            holder = holder.get(section, ABSENT) if isinstance(holder, dict) else ABSENT
        if not isinstance(holder, dict) or not (leaf in holder or (sections and "_target_" in holder)):
            raise ChangeError(f"Bridge has no setting {path}")
        holder[leaf] = value
    return config
