"""What ``verify`` and ``modernize --prove`` ask for when both sides are trained, and how they tell what was found."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bridge_args.cli.streams import write
from bridge_args.secrets import Secret, masked

if TYPE_CHECKING:
    from bridge_args.verify.versions import Proof

Request = TypeVar("Request")


@contextlib.contextmanager
def request_of(kind: Callable[..., Request], options: argparse.Namespace, **more: Any) -> Iterator[Request]:
    """A request with what ``cli.options.training`` has asked the user for.

    Args:
        kind: ``verify.verify.Request``, ``verify.versions.Request`` or ``verify.bridges.Request``.
        more: what only this kind has.

    Yields:
        It, with a folder to write to: that of ``--workdir``, or one that is gone afterwards.
    """
    with contextlib.ExitStack() as stack:
        folder = getattr(options, "workdir", None)
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-args-verify-"))
        yield kind(
            folder=Path(folder),
            steps=options.steps,
            shrink=options.shrink,
            nproc=options.nproc,
            device=options.device,
            **more,
        )


def told(proof: Proof, options: argparse.Namespace, secrets: Sequence[Secret]) -> int:
    """Writes what was found out of two sources; the exit status."""
    from bridge_args.verify import moved

    write(masked("".join(f"{line}\n" for line in moved.lines(proof)), tuple(secrets)), options.output)
    return 0 if proof.comparison.same else 1
