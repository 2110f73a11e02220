"""A complete run config -> Bridge's real ConfigContainer, checked by Bridge itself.

``load`` only builds it. ``build`` also runs Bridge's own ``runtime_config_update``, for a world size and an
environment given as values. Training starts from ``load``, because ``pretrain`` runs that update itself; ``build``
is how a configuration is refused before any process group exists.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import io
import linecache
import logging
import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bridge_args.bridge import checkpoint_rules, choices, installed
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.types import accepts
from bridge_args.emulation import placeholders
from bridge_args.errors import UserError
from bridge_args.secrets import masked
from bridge_args.training.valueless import valueless
from bridge_args.versions import PROVEN, nearest
from bridge_args.wording import listed

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation

log = logging.getLogger(__name__)

# What `torchrun` tells a process, and Bridge reads while it works out the data-parallel size.
_RANK = {"RANK": "0", "LOCAL_RANK": "0"}


class BridgeMissing(UserError, ImportError):
    """Megatron Bridge, or something it needs, is not installed; the message says what."""


class BridgeRejects(UserError, ValueError):
    """Bridge does not accept the configuration.

    Attributes:
        message: Bridge's own words; where it has none, the condition that does not hold.
        paths: settings the message is about, ``model.num_layers``; empty where it names none.
        valueless: those of them that have no value, where that is what stops Bridge.
    """

    def __init__(self, message: str, paths: tuple[str, ...] = (), valueless: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.paths = paths
        self.valueless = valueless


def to_container(t: Translation) -> Any:
    """The real, validated ``ConfigContainer`` of a translation, for its world size and environment.

    Raises:
        BridgeRejects: the message names the user's arguments behind the settings Bridge complains about.
        BridgeMissing: megatron.bridge cannot be imported.
    """
    from bridge_args.emit.run_config import to_run_config

    if told := installed.refusal(t.versions.bridge):
        raise BridgeMissing(told)
    try:
        return build(to_run_config(t, t.run_environment), t.world_size, t.run_environment)
    except BridgeRejects as rejection:
        raise in_terms_of(t, rejection) from rejection


def in_terms_of(t: Translation, rejection: BridgeRejects) -> BridgeRejects:
    """The rejection, with where each setting it names comes from."""
    origins = [
        masked(f"{assignment.path} = {assignment.value} from {assignment.origin}", t.secrets)
        for assignment in t.assignments
        if assignment.path in rejection.paths
    ]
    message = masked(rejection.message, t.secrets)
    if rejection.valueless:
        message += f"; {_how_to_give(t, rejection.valueless)}"
    return BridgeRejects("\n    ".join([message, *origins]), rejection.paths, rejection.valueless)


def _how_to_give(t: Translation, paths: tuple[str, ...]) -> str:
    """Where a value is written that is missing."""
    names = {name for name, outcome in t.outcomes.items() if set(outcome.row.to) & set(paths)}
    if t.program and names:
        return f"give it with {listed(sorted(t.catalog.flags_of(name)[0] for name in names))}"
    if names:
        return f"give {listed(sorted(names))} a value in the file"
    (section, _, name), words = paths[0].partition("."), " ".join(f"{path}=VALUE" for path in paths)
    return f"write {name} below {section} in the YAML, or {words} among the overrides"


def load(run_config: Mapping[str, Any]) -> Any:
    """The ``ConfigContainer`` that Bridge's strict ``from_yaml`` makes of a run config; not yet validated.

    Args:
        run_config: complete nested mapping with ``_target_`` keys, as ``ConfigContainer.to_yaml`` writes it.

    Raises:
        BridgeRejects: a setting Bridge does not have, a value its classes refuse, or what it would find out too late or
            never: a text that is none of the choices of its setting, settings of checkpoints that do not go together.
        BridgeMissing: megatron.bridge cannot be imported.
    """
    config, instantiate = _import("training.config"), _import("utils.instantiate_utils")
    container: Any = None
    try:
        # As from_yaml has it of a file: OmegaConf reads every text once before Bridge does.
        omegaconf = importlib.import_module("omegaconf").OmegaConf
        read = omegaconf.to_container(omegaconf.create(copy.deepcopy(dict(run_config))), resolve=True)
        container = config.ConfigContainer.from_dict(read, mode=instantiate.InstantiationMode.STRICT)
    except Exception as error:  # whatever Bridge's classes raise for a value: the user gets its words
        raise rejection(error, None) from error
    schema = schemas.load(_checked_with())
    for path, message in choices.wrong(run_config, schema):
        raise BridgeRejects(message, (path,))
    for message in choices.newer(run_config, schema):
        log.warning("%s", message)
    for one in checkpoint_rules.broken(run_config, schema):
        if one.late and one.kind == "together":
            raise BridgeRejects(one.message, (one.path,))
    return container


def _checked_with() -> str:
    """The version of Bridge whose choices the values are compared with; another than the installed one is told."""
    there, known = installed.version(), schemas.versions()
    if there is None or there in known:
        return there or PROVEN.bridge
    version = nearest(there, known)
    if there not in _told:
        _told.add(there)
        what = "values that Bridge does not check itself are compared with those of"
        log.warning("Megatron Bridge %s is installed, which is not known here; %s %s", there, what, version)
    return version


_told: set[str] = set()


def build(run_config: Mapping[str, Any], world_size: int, env: Mapping[str, str]) -> Any:
    """The validated ``ConfigContainer``: what Bridge will train with on ``world_size`` GPUs.

    Args:
        run_config: as for ``load``; not changed.
        world_size: number of processes.
        env: environment the training processes will have; Bridge's checks read a few variables
            (``NCCL_ALGO``, ``CUDA_DEVICE_MAX_CONNECTIONS``). The process environment is put back afterwards.

    Raises:
        BridgeRejects: ``from_dict`` or ``runtime_config_update`` refuses the configuration.
        BridgeMissing: megatron.bridge cannot be imported.
    """
    with _logging_left_alone():
        config = _import("training.config")
    variables = {**env, **_RANK, "WORLD_SIZE": str(world_size)}
    with placeholders.gpu_machine(), _environment(variables), _deterministic_algorithms_kept(), _said_to_log():
        container = load(run_config)
        try:
            config.runtime_config_update(container)
        except Exception as error:  # asserts, ValueErrors and RuntimeErrors alike
            raise rejection(error, container) from error
    return container


def _import(name: str) -> Any:
    """A module of ``megatron.bridge``."""
    try:
        with placeholders.absent_packages(), warnings.catch_warnings(), _only_warnings_logged(), _git_not_asked():
            warnings.simplefilter("ignore")  # "Apex is not installed" and the like, once per module
            return importlib.import_module(f"megatron.bridge.{name}")
    except ImportError as error:
        wanted = installed.version() or PROVEN.bridge
        told = installed.missing(wanted)
        if told is None:  # it is there, and something that it imports is not, or is another version
            why = f"{error.name} is missing" if error.name and "." not in error.name else str(error)
            told = f"Megatron Bridge cannot be imported ({why}); {installed.remedy(wanted)}"
        raise BridgeMissing(told) from error


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """``os.environ`` has these inside, and is what it was afterwards."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _deterministic_algorithms_kept() -> Iterator[None]:
    """Validation of ``deterministic_mode`` switches PyTorch's global flag on; a check should not."""
    torch = importlib.import_module("torch")
    before = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def _git_not_asked() -> Iterator[None]:
    """Bridge and Core name their version by git when they are imported, unless a variable says no (package_info.py).

    What else an import puts into the environment stays there.
    """
    before = os.environ.get("NO_VCS_VERSION")
    os.environ["NO_VCS_VERSION"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("NO_VCS_VERSION", None)
        else:
            os.environ["NO_VCS_VERSION"] = before


@contextlib.contextmanager
def _only_warnings_logged() -> Iterator[None]:
    """Bridge tells with a traceback what it could not import; it has a way without it."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Importing Megatron's training since 0.18 sends what any module logs to stdout, where results go.

    See ``logging.basicConfig`` in megatron/training/training.py. A run that trains imports it as it is.
    """
    before = logging.basicConfig
    setattr(logging, "basicConfig", lambda **options: None)  # mypy refuses the assignment
    try:
        yield
    finally:
        setattr(logging, "basicConfig", before)


@contextlib.contextmanager
def _said_to_log() -> Iterator[None]:
    """What Bridge prints and warns while it validates goes to this module's logger, not to stdout."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for line in printed.getvalue().splitlines():
            log.info("%s", line)
        for warning in caught:
            if "megatron" in warning.filename:
                log.info("%s", warning.message)


# ---------------------------------------------------------------------------------- whose fault


def rejection(error: Exception, container: Any) -> BridgeRejects:
    """What Bridge raised while it built or validated a container (None: it was not built), as a rejection."""
    message = " ".join(str(error).split()) or _condition(error)
    if missing := _needed(valueless(error, _sections_of(container)), error):
        has = "has no value" if len(missing) == 1 else "have no value"
        told = f"{listed(missing)} {has}, and Bridge stops there ({type(error).__name__}: {message})"
        return BridgeRejects(told, missing, missing)
    return BridgeRejects(message, _paths(message, error, container))


def _needed(paths: tuple[str, ...], error: Exception) -> tuple[str, ...]:
    """Of settings without a value those that must have one by their type.

    All, where none must and Python stopped, not Bridge: words of Bridge's may also list values that may be None.
    """
    schema = schemas.load(_checked_with())
    needed = tuple(path for path in paths if (field := schema.find(path)) and not accepts(field, None))
    in_words = not isinstance(error, TypeError) and bool(str(error))
    return needed if needed or in_words else paths


def _sections_of(container: Any) -> Callable[[Any], str]:
    """The section that an object is: by itself, or where the container is not built yet by its class."""
    if container is not None:
        sections = {id(getattr(container, field.name)): field.name for field in dataclasses.fields(container)}
        return lambda value: sections.get(id(value), "") if dataclasses.is_dataclass(value) else ""
    classes = {
        name: section.name for section in schemas.load(_checked_with()).sections.values() for name in section.classes
    }
    return lambda value: classes.get(f"{type(value).__module__}.{type(value).__qualname__}", "")


def _condition(error: Exception) -> str:
    """A bare ``assert`` has no words: its own line says what does not hold."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip() or frame.name
    return f"{type(error).__name__}: {line}"


def _paths(message: str, error: Exception, container: Any) -> tuple[str, ...]:
    """Settings whose names stand in the message.

    A name that several sections have (``seq_length``) belongs to the section whose own check failed, if one did.
    """
    if container is None:
        return ()
    sections = {
        field.name: {name for name in vars(value) if not name.startswith("_")}
        for field in dataclasses.fields(container)
        if hasattr(value := getattr(container, field.name), "__dict__")
    }
    words = set(re.findall(r"[a-z][a-z0-9_]+", message.replace("--", " ").replace("-", "_")))
    dotted = {f"{s}.{n}" for s, n in re.findall(r"\b([a-z_]+)\.([a-z0-9_]+)", message) if n in sections.get(s, ())}
    if dotted:
        return tuple(sorted(dotted))
    own = _checking_section(error, container)
    for section in own:
        if found := words & sections[section]:
            return tuple(f"{section}.{name}" for name in sorted(found))
    long_enough = {word for word in words if "_" in word}  # "model" or "size" are also just English
    return tuple(sorted(f"{s}.{n}" for s, names in sections.items() for n in names & long_enough))


def _checking_section(error: Exception, container: Any) -> list[str]:
    """Names of the sections whose methods are in the traceback, innermost first."""
    sections = {field.name: getattr(container, field.name) for field in dataclasses.fields(container)}
    names = {id(value): name for name, value in sections.items() if dataclasses.is_dataclass(value)}
    selves = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [names[id(value)] for value in reversed(selves) if id(value) in names]
