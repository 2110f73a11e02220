"""``bridge-args launch``: from a source and its translation to what an executor starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge_args.drop_in import accept
from bridge_args.findings import Finding
from bridge_args.launch import entrypoint, executors
from bridge_args.launch.options import Options
from bridge_args.launch.work import Executor, Job, Read, Work
from bridge_args.mapping.translation import Translation


def read(given: Options, read_source: Read, env: Mapping[str, str]) -> Job:
    """Reads the source as the executor that is asked for needs it.

    Args:
        given: the options of ``bridge-args launch``.
        read_source: gives the source for an environment.
        env: the environment of this process.

    Raises:
        SourceError: as ``read_source`` does.
        ValueError: an option that is not right.
    """
    executor: Executor = executors.load(given.executor)
    return executor.read(given, read_source, env)


def launch(
    given: Options,
    job: Job | None,
    translation: Translation,
    env: Mapping[str, str],
    write: Callable[[str], None],
    say: Callable[[str | Finding], None],
) -> int:
    """Starts it, or with ``--dry-run`` writes what would be started.

    Args:
        given: the options of ``bridge-args launch``.
        job: None for a saved checkpoint: the translation's words alone.
        translation: without errors.
        write: takes results.
        say: tells the user.

    Returns:
        The exit code.

    Raises:
        ValueError: an unknown name behind ``--accept``, something that cannot be started or said.
    """
    lost = accept.refused(translation, given.accept)
    if lost:
        say(accept.refusal(lost))
        return 1
    own = _own_options(given, translation)
    if job is not None:
        more = entrypoint.left_out(job.source)
        if more is not None:
            say(more)
    executor: Executor = executors.load(given.executor)
    if job is None:
        start = entrypoint.Start((*own, *translation.words), {}, "", {}, None, 0)
    else:
        changing = executor.changing(given, job.source)
        start = entrypoint.replaced(job.source, translation.program, own, job.inherited, changing)
    return executor.start(Work(start, job, translation, given, env, write, say))


def _own_options(given: Options, translation: Translation) -> list[str]:
    """What the drop-in must know to translate as was done here."""
    own = [word for name in given.accept for word in ("--accept", name.lstrip("-"))]
    asked = given.asked
    if asked.mappings:
        own += ["--mappings", asked.mappings]
    # Without a version the drop-in goes by the arguments and by the Bridge of its machine; here a script may say more.
    own += ["--megatron-lm", asked.megatron_lm or translation.versions.megatron]
    if asked.bridge:
        own += ["--bridge", asked.bridge]
    return own
