"""``bridge-args launch``: from a source and its translation to a command of this machine or a job of Slurm."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from bridge_args.drop_in import accept
from bridge_args.errors import WrongValue
from bridge_args.findings import Finding
from bridge_args.launch import entrypoint, options
from bridge_args.launch.executors import local, slurm
from bridge_args.launch.options import Options
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.detect import detect
from bridge_args.pairs.pairs import MEGATRON_LM
from bridge_args.script import slurm as sbatch
from bridge_args.script.kept import Edits, elsewhere
from bridge_args.script.programs import SHELLS
from bridge_args.source.read import from_text
from bridge_args.source.source import Source
from bridge_args.source.yaml import kubernetes
from bridge_args.steps import PROGRAMS
from bridge_args.words import Word


class Read(Protocol):
    """Gives the source for an environment, for options of sbatch that count more, and for the first task."""

    def __call__(self, inherited: Mapping[str, str], job: Sequence[str] = (), first_task: bool = False) -> Source: ...


class Job(NamedTuple):
    """What is to be started.

    Attributes:
        source: with what only the job will know left open.
        translated: the same with examples of it filled in, which is what is translated beforehand.
        inherited: the environment they were read with.
        world_size: number of ranks, where neither the words nor the user say it.
    """

    source: Source
    translated: Source
    inherited: Mapping[str, str]
    world_size: int | None = None


def read(given: Options, read_source: Read, env: Mapping[str, str]) -> Job:
    """Reads the source as bash would, in the environment it would run in.

    Args:
        given: the options of ``bridge-args launch``.
        read_source: gives the source for an environment.
        env: the environment of this process.

    Raises:
        SourceError: as ``read_source`` does.
        ValueError: an option for Slurm that is not right.
    """
    if given.executor == "local":
        if flags := options.for_slurm(given):
            raise WrongValue(f"{flags[0]} applies to a Slurm job; add --executor slurm")
        source = _opened(_no_manifest(read_source(env), given), env)
        return Job(source, source, env, given.asked.world_size)
    of_tasks = sbatch.OF_A_TASK
    inherited = {
        name: value for name, value in env.items() if not slurm.is_left_to_the_job(name) and name not in of_tasks
    }
    asked = options.of_sbatch(given)
    source = _no_manifest(read_source(inherited, asked), given)
    words = slurm.sbatch_words(source, given)
    if sbatch.options_of(words).get("export", "").startswith("NONE"):
        inherited = {}
    inherited |= sbatch.from_options(words)
    ranks = given.asked.world_size
    if source.command.program is None and ranks is None:  # bare arguments: a rank for every GPU
        counts = [inherited.get(name, "") for name in ("SLURM_NNODES", "SLURM_GPUS_ON_NODE")]
        ranks = int(counts[0] or 1) * int(counts[1]) if counts[1] else None
    source = _opened(read_source(inherited, asked), inherited)
    examples = {**slurm.examples(words), **inherited}
    translated = _opened(read_source(examples, asked, first_task=True), examples, first_task=True)
    translated = slurm.on_nodes(translated, given)._replace(findings=slurm.unanswered(translated))
    return Job(source, translated, inherited, ranks)


def _no_manifest(source: Source, given: Options) -> Source:
    """The source, unless it is what only Kubernetes starts."""
    if kubernetes.is_manifest(source.text):
        module = entrypoint.DROP_IN[PROGRAMS[0]]
        raise WrongValue(
            f"{given.source} is a manifest of Kubernetes, which launch does not start; put -m {module} into it "
            f"in place of the program, in an image that has bridge_args and Megatron Bridge, and apply it"
        )
    return source


def _opened(source: Source, inherited: Mapping[str, str], first_task: bool = False) -> Source:
    """Words with the text of a shell among them are read as a script is."""
    if source.started is None and set(source.command.wrappers) & set(SHELLS):
        text = shlex.join(word.text for word in source.words)
        return from_text(text, "<words>", inherited=inherited, first_task=first_task)
    return source


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
    if job is None:
        start = entrypoint.Start((*own, *translation.words), {}, "", {}, None, 0)
    else:
        changing: entrypoint.More = partial(_here, job.source)
        if given.executor == "slurm":
            changing = partial(slurm.other_nodes, given=given)
        start = entrypoint.replaced(job.source, translation.program, own, job.inherited, changing)
    if given.executor == "slurm":
        words_of_job = slurm.sbatch_words(job.source if job else None, given)
        batch = slurm.batch(start, words_of_job, given, translation, env)
        for finding in batch.findings:
            say(finding)
        if given.dry_run:
            write(batch.text)
            return 0
        return slurm.submit(batch, env, write, say)
    if start.launcher is None and not start.front:
        launcher = [*local.of_this_python([Word("torchrun")])[0], "--standalone"]
        launcher += ["--nproc-per-node", str(translation.world_size)]
        start = entrypoint.bare(start, launcher, translation.program)
    try:
        ready = local.on_this_machine(start)
    except entrypoint.NotStarted as problem:
        if job is None or not slurm.sbatch_words(job.source, given):
            raise
        raise entrypoint.NotStarted(
            f"{problem}\nthis is a script of Slurm: --executor slurm makes a job of it"
        ) from problem
    missing = local.not_here(ready)
    if given.dry_run:
        if missing:
            say(Finding("launcher", missing, "the command is for where it is"))
        write(local.shown(ready, translation.secrets))
        return 0
    if missing:
        raise entrypoint.NotStarted(missing)
    return local.run(ready, env, say)


def _here(source: Source, words: Sequence[Word]) -> Edits:
    """The programs of this interpreter, unless the command is started elsewhere."""
    return {} if source.started and elsewhere(source.started) else local.of_this_python(words)


def _own_options(given: Options, translation: Translation) -> list[str]:
    """What the drop-in must know to translate as was done here."""
    own = [word for name in given.accept for word in ("--accept", name.lstrip("-"))]
    asked = given.asked
    if asked.mappings:
        own += ["--mappings", asked.mappings]
    # Without a version the drop-in goes by the arguments; here a script may have said more.
    version = asked.megatron_lm or translation.versions.megatron
    if asked.megatron_lm or version != detect(translation.words, MEGATRON_LM).version:
        own += ["--megatron-lm", version]
    if asked.bridge:
        own += ["--bridge", asked.bridge]
    return own
