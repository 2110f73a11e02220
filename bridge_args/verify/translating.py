"""Translating the command lines a verification makes, in the way the user's own was translated."""

from __future__ import annotations

import os
from collections.abc import Callable

from bridge_args.files import read_file
from bridge_args.mapping.translation import Translation
from bridge_args.steps import translate


def translations(t: Translation, checkout: str, mappings: str | None) -> Callable[[tuple[str, ...], int], Translation]:
    """A function of words and number of processes.

    Asking a checkout takes seconds. Where the built-in resolver says the same of the user's own command line as the
    checkout does, it is asked for the others too.

    Args:
        t: the user's, resolved by the checkout.
        mappings: file with rows of the user's own.
    """
    # a variable that the process has, the run has
    env = {**os.environ, "CUDA_DEVICE_MAX_CONNECTIONS": "1", **t.run_environment}

    def again(words: tuple[str, ...], world_size: int, megatron_lm: str = checkout) -> Translation:
        found = translate(
            list(words),
            world_size=world_size,
            megatron_lm=megatron_lm,
            bridge=t.versions.bridge,
            env=env,
            program=t.program,
            read=read_file,
            mappings=mappings,
        )
        return found._replace(environment=t.environment)

    try:
        built_in = again(t.words, t.world_size, t.versions.megatron)
    except ValueError:  # no catalog of that version
        return again
    said = [[(one.path, one.value) for one in each.assignments] for each in (built_in, t)]
    if said[0] == said[1] and not built_in.errors:
        return lambda words, world_size: again(words, world_size, t.versions.megatron)
    return again
