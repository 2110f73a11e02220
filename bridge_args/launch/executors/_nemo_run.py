"""A job of Slurm -> its batch file, made by nemo-run's ``SlurmExecutor`` and ``SlurmBatchRequest``.

nemo-run puts most texts into the file as they are (its srun line, its exports), so everything here is already in
bash's words. Three things it would decide by itself are said explicitly, because the user's script has said them: where
the processes start, where the output goes, and which variables are exported (nemo-run writes their names in capitals).
Verify: ``SlurmBatchRequest.materialize`` in ``nemo_run/core/execution/slurm.py`` and ``templates/slurm.sh.j2``, 0.11.1.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bridge_args.errors import UserError
from bridge_args.records import Record

VERSION: Final = "0.11.1"
INSTALL: Final = f'pip install "bridge_args[slurm]" && pip install --no-deps nemo_run=={VERSION} torchx==0.7.0'
# Options of sbatch that are fields of SlurmExecutor; the others go into its additional_parameters.
FIELDS: Final = frozenset(
    (
        "account array comment constraint cpus-per-gpu cpus-per-task exclude exclusive gpus-per-node gpus-per-task "
        "gres mem mem-per-cpu mem-per-gpu network nodes ntasks-per-node open-mode partition qos segment signal time"
    ).split()
)
QUIET: Final = "set +vx"  # the template prints every line, with the values of secrets in it
_RUN_FOLDER: Final = "/nemo_run"  # where nemo-run mounts the folder of a job, and what it replaces where it cannot
_OUT_OF_THE_WAY: Final = "/nemo\0run"
_SUBMITTED_FROM: Final = '"$SLURM_SUBMIT_DIR"'


class NemoRunMissing(UserError, ValueError):
    """nemo-run, or something it imports, is not installed."""


class SlurmJob(Record):
    """A job; texts are in bash's words, but for the options of sbatch.

    Attributes:
        options: of sbatch, by their long names; True for a switch.
        output, error: files of sbatch; error None: with the output.
        container_image: None for no container.
        srun_options: behind those of nemo-run, so that they count more.
        setup: lines before the processes start.
        command: what every task runs.
    """

    name: str
    options: Mapping[str, str | bool]
    output: str
    error: str | None
    container_image: str | None
    container_mounts: tuple[str, ...]
    srun_options: tuple[str, ...]
    setup: tuple[str, ...]
    command: str


def batch_file(job: SlurmJob) -> str:
    """The text of the batch file.

    Raises:
        NemoRunMissing: the message says what to install.
    """
    slurm, client, packaging = classes("slurm", "tunnel.client", "packaging.base")
    details = _details(slurm)(job_name=job.name, folder=".", of_sbatch=job.output, errors=job.error or "")
    fields: dict[str, Any] = {"account": None, "time": None, "nodes": None, "ntasks_per_node": None, "open_mode": None}
    fields |= {name.replace("-", "_"): value for name, value in job.options.items() if name in FIELDS}
    executor = slurm.SlurmExecutor(
        **fields,
        job_name_prefix=job.name,  # without one, nemo-run makes one of the account
        job_details=details,
        container_image=_kept(job.container_image),
        container_mounts=[_kept(mount) for mount in job.container_mounts],
        srun_args=[_kept(option) for option in job.srun_options],
        setup_lines="\n".join(map(_kept, job.setup)) or None,
        additional_parameters={name: value for name, value in job.options.items() if name not in FIELDS} or None,
        tunnel=client.LocalTunnel(job_dir=_SUBMITTED_FROM),
        packager=packaging.Packager(),
    )
    executor.stderr_to_stdout = job.error is None
    request = slurm.SlurmBatchRequest(
        launch_cmd=["sbatch", "--parsable"],
        jobs=[job.name],
        command_groups=[[_kept(job.command)]],
        executor=executor,
        max_retries=0,
        extra_env={},
    )
    text: str = request.materialize()
    return text.replace(_OUT_OF_THE_WAY, _RUN_FOLDER).rstrip("\n") + "\n"


def _kept(text: Any) -> Any:
    """Without a container nemo-run replaces ``/nemo_run`` everywhere, in the user's own paths too."""
    return text.replace(_RUN_FOLDER, _OUT_OF_THE_WAY) if isinstance(text, str) else text


def _details(slurm: Any) -> Any:
    """nemo-run's names of files, with those the user has said in their place."""

    @dataclasses.dataclass(kw_only=True)
    class Details(slurm.SlurmJobDetails):  # type: ignore[misc]
        of_sbatch: str = ""
        errors: str = ""

        stdout = property(lambda self: Path(self.of_sbatch))
        stderr = property(lambda self: Path(self.errors))
        srun_stdout = property(lambda self: self.of_sbatch)
        srun_stderr = property(lambda self: self.errors)

    return Details


def classes(*names: str) -> tuple[Any, ...]:
    """Modules of nemo-run: an executor's by its own name, others below ``nemo_run.core``.

    Raises:
        NemoRunMissing: the message says what to install.
    """
    try:
        with _without_lepton(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            handlers = logging.root.handlers[:]
            places = (name if "." in name else f"execution.{name}" for name in names)
            found = tuple(importlib.import_module(f"nemo_run.core.{place}") for place in places)
            logging.root.handlers = handlers
            return found
    except ImportError as missing:
        message = f"nemo-run makes the job, and cannot be imported: {missing}; {INSTALL}"
        raise NemoRunMissing(message) from missing


class _Nothing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of one package, with nothing in it but classes that are made when asked for."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] == self.package:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


class _Empty(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def _without_lepton() -> Iterator[None]:
    """nemo-run imports the client of a cloud service, with ray behind it, for an executor that is not used here."""
    if "leptonai" in sys.modules or importlib.util.find_spec("leptonai") is not None:
        yield
        return
    finder = _Nothing("leptonai")
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "leptonai"]:
            del sys.modules[name]
