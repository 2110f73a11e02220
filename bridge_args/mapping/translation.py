"""Translation: what a command line says to Bridge, and what became of every argument."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from bridge_args.bridge.schema import Schema
from bridge_args.errors import UserError
from bridge_args.findings import KINDS, Finding
from bridge_args.mapping.rows import Fate, Row
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.derive.registry import Derivation
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.records import Record
from bridge_args.secrets import Secret
from bridge_args.values import references_in
from bridge_args.versions import Versions
from bridge_args.words import Place


class BuilderStep(Record):
    """A builder of ``mapping/sections`` that decided a setting; its text says where the two sides do the same."""

    place: str
    see: tuple[str, ...] = ()


class Origin(Record):
    """Where an assignment comes from.

    Attributes:
        kind: ``flag`` (the user wrote it), ``default`` (Megatron-LM's default, which Bridge does not share),
            ``derived`` (Megatron-LM computes it), ``checkpoint`` (``--use-checkpoint-args`` takes it from one).
        text: the user's words for a flag; of a default, whose it is, where it is not Megatron-LM's; which checkpoint;
            empty otherwise.
        arguments: the arguments whose values went in.
        inputs: for a derived value, what it was derived from.
        step: for a derived value, what of ours derived it: one function of ``megatron_lm/derive``, or a builder of
            ``mapping/sections``.
    """

    kind: Literal["flag", "default", "derived", "checkpoint"]
    arguments: tuple[str, ...]
    text: str = ""
    inputs: Mapping[str, Any] = MappingProxyType({})
    step: Derivation | BuilderStep | None = None

    def __str__(self) -> str:
        if self.kind == "default":
            return self.text or "Megatron-LM's default"
        if self.kind == "flag":
            return self.text
        if self.kind == "checkpoint":
            return f"from the checkpoint {self.text}"
        if not self.inputs:
            return f"{self.text}; changed by Megatron-LM" if self.text else "decided by Megatron-LM"
        inputs = ", ".join(f"{name}={value}" for name, value in self.inputs.items())
        return f"{self.text}; derived from {inputs}" if self.text else f"derived from {inputs}"


class Assignment(Record):
    """One setting of Bridge: ``path`` (``model.num_layers``), its value, its origin, and the row that says so."""

    path: str
    value: Any
    origin: Origin
    row: Row


class Outcome(Record):
    """What became of one argument: its fate, where it went, and why."""

    argument: str
    fate: Fate
    paths: tuple[str, ...]
    reason: str
    given: bool
    row: Row


class Translation(Record):
    """A run in Bridge's words: that of a Megatron-LM command line, or of a file that configures it in other words.

    Both go through rows, so both have the same assignments, outcomes and findings, and all formats and reports take
    both. Only a command line has a ``program``; without one (``mapping.settings`` makes those)

    * ``args`` holds the settings of the file under its own names, ``words`` how they stand there, ``places`` where;
    * ``catalog`` has the names that the file's format knows, ``launcher`` is empty, ``versions.megatron`` too;
    * what starts or rewrites Megatron-LM's own program (``to_argv``, ``verify``) refuses: there is no such program.

    Attributes:
        assignments: in Bridge's order; only what was given, or differs from what Bridge would have without it.
        outcomes: argument to what became of it, for every argument of the Megatron-LM version.
        findings: everything the user is told.
        args: the effective arguments of Megatron-LM.
        classes: section to the class it is built from, where the section exists in this run.
        environment: environment variables the run is started with.
        launcher: the launcher's own settings (``nproc_per_node``, ...).
        words: the command line after the program's name, as the user wrote it.
        catalog: the arguments there are: of the version, or of the user's own checkout.
        places: where in a file each of the words stands; None for a word that is in no file.
        unresolved: environment variables in the words that nobody has given; in values they are ``values.Referring``.
        secrets: what no output shows. Settings that held the value of a secret variable refer to it likewise.
        made_from: what it is made from, where that is no command line: ``a NeMo 2.0 configuration``.
    """

    assignments: tuple[Assignment, ...]
    outcomes: Mapping[str, Outcome]
    findings: tuple[Finding, ...]
    args: MegatronArgs
    classes: Mapping[str, str]
    schema: Schema
    versions: Versions
    world_size: int
    program: str
    environment: Mapping[str, str]
    launcher: Mapping[str, str | int]
    words: tuple[str, ...]
    catalog: Catalog
    places: tuple[Place | None, ...] = ()
    unresolved: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    made_from: str = ""

    @property
    def told_source(self) -> str:
        """What it is made from, in words for the user."""
        return self.made_from or f"a Megatron-LM {self.versions.megatron} command line"

    def needs_program(self, what: str) -> None:
        """Whether there is a program of Megatron-LM's that ``what`` can be about.

        Raises:
            UserError: there is none.
        """
        if not self.program:
            raise UserError(f"{what} needs a command line of Megatron-LM, and this is {self.made_from}")

    @property
    def referred(self) -> tuple[str, ...]:
        """The environment variables that settings refer to: those nobody has given, and secret ones."""
        return tuple(dict.fromkeys([*self.unresolved, *(secret.name for secret in self._referred_secrets())]))

    @property
    def run_environment(self) -> dict[str, str]:
        """``environment``, with the secrets that settings refer to, which a script need not have exported."""
        return {**{secret.name: secret.value for secret in self._referred_secrets()}, **self.environment}

    def _referred_secrets(self) -> list[Secret]:
        if not self.secrets:
            return []
        names = {name for assignment in self.assignments for name in references_in(assignment.value)}
        return [secret for secret in reversed(self.secrets) if secret.name in names]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of level error; a command line that Megatron-LM would reject has some."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def losses(self) -> tuple[Finding, ...]:
        """What is lost in translation; ``Finding.changes`` says what that changes."""
        return tuple(finding for finding in self.findings if KINDS[finding.kind].lost)

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """What makes the whole translation doubtful: errors under ``--strict``."""
        return tuple(finding for finding in self.findings if finding.kind == "unproven-pair")

    @property
    def number_losses(self) -> tuple[Finding, ...]:
        """The losses that change the numbers: errors under ``--strict``, and a run does not start with them."""
        return tuple(finding for finding in self.losses if finding.changes in (None, "model", "numbers"))
