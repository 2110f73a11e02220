"""``torchrun … -m bridge_args.pretrain_gpt <the arguments of pretrain_gpt.py>``: the drop-in.

Every rank translates the arguments, which gives the same on each; rank 0 says what became of them; then Bridge's own
``pretrain`` trains. Whatever is wrong is said before any process group exists, with exit code 1.

``BRIDGE_ARGS_CPU=1`` in the environment asks for the CPU emulation that ``bridge-args rehearse`` uses.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bridge_args
from bridge_args.bridge.container import BridgeMissing, BridgeRejects, build, in_terms_of, load
from bridge_args.files import read_file

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation


def main(
    argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None, program: str = "pretrain_gpt.py"
) -> int:
    """Trains; returns the exit code.

    Args:
        argv: arguments of Megatron-LM's program; None: those of this process.
        env: environment of this process, with ``RANK`` and ``WORLD_SIZE`` from the launcher.
        program: Megatron-LM's program that the arguments are for.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    env = os.environ if env is None else env
    first = env.get("RANK", "0") == "0"

    def say(message: object) -> None:
        if first:
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()

    translation = bridge_args.translate(
        words, world_size=int(env.get("WORLD_SIZE", "1")), env=env, program=program, read=read_file
    )
    if translation.errors:
        for error in translation.errors:
            say(error)
        return 1
    say(bridge_args.report(translation, "text"))
    try:
        config = _checked_container(translation, env)
    except (BridgeRejects, BridgeMissing, NoDevice) as problem:
        say(problem)
        return 1
    from bridge_args.launch.errors import reported
    from bridge_args.launch.train import pretrain

    with reported(env):
        pretrain(config)
    return 0


class NoDevice(RuntimeError):
    """There is no GPU to train on."""


def _checked_container(translation: Translation, env: Mapping[str, str]) -> Any:
    """The container to train with, after Bridge has accepted another one built from the same values.

    ``pretrain`` validates again, and validation is not made to run twice on one container.
    """
    from bridge_args.emit.run_config import to_run_config

    run_config = to_run_config(translation)
    emulate = env.get("BRIDGE_ARGS_CPU", "") not in ("", "0")
    if emulate:
        run_config = _emulate(run_config)
    elif not importlib.import_module("torch").cuda.is_available():
        raise NoDevice(
            "no GPU is visible to PyTorch; `bridge-args rehearse -- <the same arguments>` runs this training loop "
            "on the CPU (--steps N for the first iterations only, --shrink for a small model like this one)"
        )
    try:
        build(run_config, translation.world_size, env)
    except BridgeRejects as rejection:
        raise in_terms_of(translation, rejection) from rejection
    return load(run_config)


def _emulate(run_config: dict[str, Any]) -> dict[str, Any]:
    """Installs the CPU emulation; returns the run config that goes with it."""
    from bridge_args.launch import cpu, for_cpu

    adapted, changes = for_cpu.adapt(run_config)
    packages = for_cpu.stand_ins(adapted)
    replaced = cpu.install(transformer_engine=packages.transformer_engine, apex_layer_norm=packages.apex_layer_norm)
    cpu.prepare_megatron_core()
    if os.environ["RANK"] == "0":
        for change in changes:
            sys.stderr.write(f"changed for the CPU: {change}\n")
        for replacement in replaced:
            sys.stderr.write(f"replaced: {replacement}\n")
    return adapted


if __name__ == "__main__":
    sys.exit(main())
