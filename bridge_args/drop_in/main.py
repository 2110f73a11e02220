"""What the drop-in does: translates the arguments, says what became of them, and has Bridge's own ``pretrain`` train.

Every rank translates, which gives the same on each; rank 0 says what became of the arguments, and keeps it beside the
checkpoints (``provenance.py``). Whatever is wrong is said once, before any process group exists, with exit code 1; an
incomplete option of our own (``options.py``) with 2.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bridge_args.bridge import installed
from bridge_args.drop_in import errors, options, preflight, provenance
from bridge_args.errors import UserError
from bridge_args.training import ranks

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation


# Variables that change how a run computes or communicates; the others may be secrets, and go into no report.
_CONCERNS: Final = re.compile(
    r"(CUDA|CUBLAS|CUDNN|NCCL|NVTE|NVSHMEM|UB|UCX|GLOO|TORCH|PYTORCH|TRITON|OMP|MKL)_(?!.*TOKEN)"
)

_PATIENCE: Final = 5.0  # seconds; a launcher ends the rank that has something to say as soon as another has gone


class Missing(UserError):
    """Something is not on this machine: its first rank says so."""


class Stopped(UserError):
    """Why the run cannot go on, which this rank knows; empty where another one does."""


def main(
    argv: Sequence[str] | None = None, env: MutableMapping[str, str] | None = None, program: str = "pretrain_gpt.py"
) -> int:
    """Trains; returns the exit code.

    Args:
        argv: arguments of Megatron-LM's program and of our own; None: those of this process.
        env: environment of this process; ranks that a launcher has not named are added to it.
        program: Megatron-LM's program that the arguments are for.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    env = os.environ if env is None else env
    env.update(ranks.rank_variables(env))
    ranks.end_with_launcher(env)
    try:
        _run(words, env, program)
    except UserError as problem:
        if str(problem) and _is_said_here(problem, env):
            _say(problem)
        else:
            time.sleep(_PATIENCE)
        return problem.code
    return 0


def _is_said_here(problem: UserError, env: Mapping[str, str]) -> bool:
    """Is it for this rank to say? What every rank finds is said by rank 0."""
    if isinstance(problem, Missing):
        return env["LOCAL_RANK"] == "0"
    return isinstance(problem, Stopped) or env["RANK"] == "0"


def _run(words: Sequence[str], env: MutableMapping[str, str], program: str) -> None:
    """Everything in order.

    Raises:
        UserError: what is in the way.
    """
    first = env["RANK"] == "0"
    own = options.take(words)
    translation = _translated(own, env, program)
    run_config = _checked(translation, env)
    if first:
        _say(_reported(translation))
        _keep(translation, words, env)
    config = _container(translation, run_config, env)
    with errors.reported(env):  # but not what is said here
        problem = _train(translation, config, env)
    if problem is not None:
        raise problem


def _say(message: object) -> None:
    from bridge_args.secrets import masked
    from bridge_args.seen import visible_lines

    with contextlib.suppress(OSError, ValueError):  # closed or full: there is nobody to tell
        sys.stderr.write(f"{visible_lines(masked(str(message)))}\n")
        sys.stderr.flush()


def _translated(own: options.Own, env: MutableMapping[str, str], program: str) -> Translation:
    from bridge_args.drop_in.accept import refusal, refused
    from bridge_args.files import finder, read_file
    from bridge_args.pairs.detect import detect
    from bridge_args.pairs.pairs import usual_megatron_lm
    from bridge_args.steps import translate
    from bridge_args.training import added

    translation = translate(
        own.words,
        world_size=int(env["WORLD_SIZE"]),
        megatron_lm=own.megatron_lm or detect(own.words, usual_megatron_lm(own.bridge), program=program).version,
        bridge=own.bridge,
        env=env,
        program=program,
        read=read_file,
        mappings=own.mappings,
        find=finder(),
    )
    if translation.errors:
        raise UserError("\n".join(map(str, translation.errors)))
    lost = refused(translation, own.accept)
    if lost:
        raise UserError(refusal(lost))
    # The whole environment was looked at; only a part is worth telling, and much of it is not to be told.
    kept_variables = {name: value for name, value in translation.environment.items() if _CONCERNS.match(name)}
    return added.settled(translation)._replace(environment=kept_variables)


def _reported(translation: Translation) -> str:
    from bridge_args.emit.report import report

    return report(translation, "text")


def _checked(translation: Translation, env: MutableMapping[str, str]) -> dict[str, Any]:
    """The run config, when all that it names is there."""
    from bridge_args.emit.run_config import plain_settings, to_run_config

    found = preflight.problems(plain_settings(translation, env), translation.versions.bridge)
    if found:
        raise Missing(preflight.said(found, translation, node=_node(env)))
    return to_run_config(translation, env)


def _node(env: MutableMapping[str, str]) -> str:
    """The name of this machine, where there are several."""
    if env.get("LOCAL_WORLD_SIZE", env["WORLD_SIZE"]) == env["WORLD_SIZE"]:
        return ""
    import socket

    return socket.gethostname()


def _keep(translation: Translation, words: Sequence[str], env: Mapping[str, str]) -> None:
    from bridge_args.emit.run_config import plain_settings

    save = plain_settings(translation, env)["checkpoint"].get("save")
    if not save or "://" in save:
        return
    try:
        provenance.keep(provenance.texts_of(translation, words), save)
    except OSError as error:
        raise UserError(f"not started: nothing can be saved in {save}: {error.strerror or error}") from error


def _container(translation: Translation, run_config: dict[str, Any], env: MutableMapping[str, str]) -> Any:
    """The container to train with; ``pretrain`` has Bridge validate it."""
    from bridge_args.training.container import BridgeRejects, in_terms_of, load

    if told := installed.refusal(translation.versions.bridge):
        raise Missing(told)
    if env.get("BRIDGE_ARGS_CPU", "") not in ("", "0"):
        run_config = _emulate(run_config, translation.versions.bridge)
    elif not importlib.import_module("torch").cuda.is_available():
        raise UserError(
            "no GPU is visible to PyTorch; `bridge-args rehearse -- <the same arguments>` runs this training loop "
            "on the CPU (--steps N for the first iterations only, --shrink for a small model like this one)"
        )
    try:
        return load(run_config)
    except BridgeRejects as rejection:
        raise UserError(str(in_terms_of(translation, rejection))) from rejection


def _emulate(run_config: dict[str, Any], bridge: str) -> dict[str, Any]:
    """Installs the CPU emulation; returns the run config that goes with it."""
    from bridge_args import foreign
    from bridge_args.emulation import adapt, device

    adapted, changes = adapt.adapt(run_config, bridge)
    # Restarting needs no GPU, where the launcher is there that it needs.
    kept_sections = {"inprocess_restart", *(["ft"] if "FT_RANK_MONITOR_IPC_SOCKET" in os.environ else [])}
    adapted |= {name: run_config[name] for name in kept_sections}
    changes = tuple(change for change in changes if change.path not in kept_sections)
    packages = adapt.stand_ins(adapted)
    replaced = device.install(transformer_engine=packages.transformer_engine, apex_layer_norm=packages.apex_layer_norm)
    device.prepare_megatron_core()
    if adapted["inprocess_restart"]:
        foreign.DEVICE_CHECKS.put(lambda check, state: state)  # there is no device that could have failed
    if os.environ["RANK"] == "0":
        for change in changes:
            _say(f"changed for the CPU: {change}")
        for replacement in replaced:
            _say(f"replaced: {replacement}")
    return adapted


def _train(translation: Translation, config: Any, env: Mapping[str, str]) -> UserError | None:
    """Trains; returns what was in the way, if that can be said in a sentence."""
    from bridge_args.drop_in import hooks
    from bridge_args.training import added, loop
    from bridge_args.training.container import BridgeRejects, in_terms_of

    hooks.install(_say)
    try:
        loop.pretrain(config, added.of(translation))
    except BridgeRejects as rejection:
        return UserError(str(in_terms_of(translation, rejection)))
    except hooks.SaveFailed as failure:
        if env.get("BRIDGE_ARGS_TRACEBACK"):
            traceback.print_exc()
        return Stopped(str(failure))
    return None
