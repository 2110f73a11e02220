"""What a configuration of NeMo 2.0 comes to in a run, for one version of Bridge: NeMo's own rules, a module an area.

A rule reads settings under NeMo's names and derives settings that have rows of their own in
``mappings/nemo/nemo2.yaml``; what NeMo itself puts in the place of another value is said so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bridge_args.bridge.families import schema_with
from bridge_args.mapping.settings import Statement
from bridge_args.source.nemo2.flatten import Run
from bridge_args.source.nemo2.meaning import callbacks, checkpoints, data, model, rows, tokenizer, training
from bridge_args.source.nemo2.meaning.state import Meaning

Rule = Callable[[Meaning], None]

RULES: Final[tuple[Rule, ...]] = (
    model.ranks,
    model.model_class,
    model.parallelism,
    model.precision,
    model.functions,
    model.rope,
    training.run_length,
    training.validation,
    training.learning_rate,
    training.optimizer,
    training.loggers,
    checkpoints.checkpoints,
    tokenizer.tokenizer,
    data.data,
    data.adapters,
    callbacks.callbacks,
)


def said_to(run: Run, bridge: str) -> Statement:
    """The configuration as it is said to a version of Bridge."""
    meaning = Meaning(run, schema_with(bridge))
    for rule in RULES:
        rule(meaning)
    table = rows.table_for(bridge)
    more = {row.argument: row for row in rows.model_rows(meaning, table)}
    for line in run.lines:
        row = more.get(line.name) or table.rows.get(line.name)
        if row is not None and row.fate == "to":
            meaning.check(line, run.usual.get(line.name))
    lines = tuple(line._replace(value=meaning.fitting(line.value)) for line in run.lines)
    return Statement(
        lines,
        table.with_rows([*more.values(), *rows.replaced_rows(meaning)]),
        {name: meaning.fitting(value) for name, value in meaning.defaults.items()},
        (*run.findings, *meaning.findings),
        meaning.ranks,
        derived=meaning.derived,
        schema=meaning.schema,
        defaults_of={role: f"the default of NeMo's {name}" for role, name in run.roles.items()},
    )
