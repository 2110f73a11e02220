"""Words whose translation is the settings that are wanted: translated, compared, and corrected argument by argument."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.diff.compare import is_same
from bridge_args.diff.groups import group_of
from bridge_args.diff.show import shown
from bridge_args.emit.effective import effective
from bridge_args.findings import CHANGES, Finding
from bridge_args.inverse.propose import Settings, Values, candidates, values_for
from bridge_args.mapping import table as tables
from bridge_args.mapping.sections.registry import WRITES
from bridge_args.mapping.table import Table
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import programs
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.resolvers import saved
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.records import Record
from bridge_args.source.source import Source
from bridge_args.steps import Asked, run_of, translate

_ABSENT: Final = object()
_ERROR: Final = 100  # settings that a refusal weighs as much as
_MOST: Final = 400  # translations


class Line(Record):
    """A command line of Megatron-LM's.

    Attributes:
        translation: of that line: its words, program and versions.
        findings: a setting that it does not say, each.
    """

    translation: Translation
    findings: tuple[Finding, ...]


def command_line(t: Translation, megatron_lm: str | None = None) -> Line:
    """The command line that says what a translation says, for the Megatron-LM that goes with its Bridge.

    Args:
        t: of any source.
        megatron_lm: a version; None for the usual one.

    Raises:
        ValueError: no such version.
    """
    wanted = effective(t)
    search = _Search(t, wanted, megatron_lm)
    found = search.found()
    return Line(found, tuple(_findings(t, found, wanted)))


class _Search:
    """Words that are made better, step by step; ``left`` counts the translations that may still be made."""

    def __init__(self, t: Translation, wanted: Settings, megatron_lm: str | None) -> None:
        self.t, self.wanted = t, wanted
        self.versions = chosen_versions(megatron_lm, t.versions.bridge)
        self.catalog: Catalog = catalogs.load(self.versions.megatron)
        self.table: Table = tables.load(self.versions)
        hybrid = wanted.get("model._target_") in (name_of("hybrid model", t.versions.bridge), _MAMBA)
        self.program = programs.of_hybrid_models(self.versions.megatron) if hybrid else programs.GPT
        self.arguments = {argument.dest: argument for argument in self.catalog.arguments}
        self.left = _MOST

    def found(self) -> Translation:
        first = self._first()
        said, best = self._accepted(first, self._translated(first))
        if any(self.wanted.get(path) for path in _RAMPS):
            other = self._in_samples(first)
            if self._score(other[1]) < self._score(best):
                said, best = other
        better = True
        while better and self.left > 0:
            better = False
            for path in [*_refused(best), *wrong(self.wanted, best)]:
                step = self._step(path, said, best)
                if step is not None:
                    said, best = step
                    better = True
        return self._short(said, best)

    def _first(self) -> Values:
        """What rows say backwards, without what is so anyway."""
        values = values_for(self.wanted, self.table, self.catalog, self.t.schema.enums)
        source = Source.of_values(values)
        asked = Asked(self.versions.megatron, self.versions.bridge)
        _, given, _ = run_of(source, asked)
        return {name: given.values[name] for name in given.typed}

    def _translated(self, said: Values) -> Translation:
        self.left -= 1
        words = [word for name, value in said.items() for word in saved.words_of(self.arguments[name], value)]
        return translate(
            words,
            world_size=self.t.world_size,
            megatron_lm=self.versions.megatron,
            bridge=self.versions.bridge,
            program=self.program,
        )

    def _accepted(self, said: Values, best: Translation) -> tuple[Values, Translation]:
        """Without what Megatron-LM refuses: with another value of an argument that it names, or without one of them.

        Of all these ways the one in which the fewest settings are missed.
        """
        while list(_refused(best)) and self.left > 0:
            others = [{key: one for key, one in said.items() if key != name} for name in _refused(best) if name in said]
            for name in self._named(best):
                values = self._candidates(name, "", said.get(name))
                others += [{**said, name: value} for value in values if value is not None]
            made = [(self._translated(other), other) for other in others]
            best_of_them = min(made, key=lambda one: self._score(one[0]), default=None)
            if best_of_them is None or self._score(best_of_them[0]) >= self._score(best):
                break
            best, said = best_of_them
        return said, best

    def _named(self, best: Translation) -> list[str]:
        """The arguments that refusals speak of, beside those that are refused."""
        texts = " ".join(f"{finding.message} {finding.remedy}" for finding in best.errors)
        flags = dict.fromkeys(re.findall(r"--[a-z0-9-]+", texts))
        found = [self.catalog.by_flag[flag].dest for flag in flags if flag in self.catalog.by_flag]
        return [name for name in dict.fromkeys(found) if name in self.arguments and name not in set(_refused(best))]

    def _in_samples(self, said: Values) -> tuple[Values, Translation]:
        """The same with its length in samples, of which Bridge makes iterations where the batch size grows.

        See ``mapping/sections/run_length.py``; the number of samples is looked for between none and all of them.
        """
        batch, iterations = self.wanted["train.global_batch_size"], self.wanted.get("train.train_iters")
        other = {name: value for name, value in said.items() if not name.endswith("_iters") or name == "eval_iters"}
        for phase in ("lr_decay", "lr_warmup", "lr_wsd_decay"):
            if (length := self.wanted.get(f"scheduler.{phase}_iters")) and f"{phase}_samples" in self.arguments:
                other[f"{phase}_samples"] = round(length * batch)
        least, most = 1, (iterations or 1) * 1_000_000
        while least < most and self.left > 0:
            middle = (least + most) // 2
            made = self._translated({**other, "train_samples": middle})
            done = made.args["train_iters_from_samples"] if "train_iters_from_samples" in made.args else None
            if done is None or done >= (iterations or 1):
                most = middle
            else:
                least = middle + 1
        other["train_samples"] = least
        return self._accepted(other, self._translated(other))

    def _step(self, path: str, said: Values, best: Translation) -> tuple[Values, Translation] | None:
        """Another value of one argument with which less is wrong."""
        lowest = self._score(best)
        for name in self._reasons(path, best):
            now = best.args[name] if name in best.args else None
            for value in self._candidates(name, path, said.get(name, now)):
                if self.left <= 0:
                    return None
                other = {key: one for key, one in said.items() if key != name}
                if value is not None:
                    other[name] = value
                translation = self._translated(other)
                if self._score(translation) < lowest:
                    return other, translation
        return None

    def _candidates(self, name: str, path: str, now: Any) -> list[Any]:
        return candidates(self.arguments[name], self.wanted.get(path), now, self.t.schema.enums)

    def _reasons(self, path: str, best: Translation) -> list[str]:
        """The arguments that a setting may come from: by rows, by builders, and by what is derived from others."""
        if path in self.arguments:  # of a refusal
            return [path]
        section = path.partition(".")[0]
        found: list[str] = []
        for assignment in best.assignments:
            if assignment.path in (path, section):
                found += [*assignment.origin.arguments, *assignment.origin.inputs]
        for row in self.table.rows.values():
            writes = [one for name in row.sections for one in (*WRITES[name].always, *WRITES[name].if_there)]
            if path in row.to or path in writes or section in writes:
                found.append(row.argument)
        feeding = [row.argument for row in self.table.rows.values() if any(name in found for name in row.feeds)]
        named = path.rpartition(".")[2]
        found.sort(key=lambda name: name != named)
        return [name for name in dict.fromkeys([*found, *feeding]) if name in self.arguments]

    def _short(self, said: Values, best: Translation) -> Translation:
        """Without words that change nothing."""
        for name in list(said):
            if self.left <= -len(said):
                break
            other = {key: value for key, value in said.items() if key != name}
            if name in _ALWAYS:
                continue
            translation = self._translated(other)
            if self._score(translation) <= self._score(best):
                said, best = other, translation
        return best

    def _score(self, translation: Translation) -> int:
        return len(wrong(self.wanted, translation)) + _ERROR * len(list(_refused(translation, all_of_them=True)))


_RAMPS: Final = ("train.rampup_batch_size", "train.step_batch_size_schedule")
_MAMBA: Final = "megatron.bridge.models.mamba.mamba_provider.MambaModelProvider"
_ALWAYS: Final = frozenset("num_layers hidden_size num_attention_heads seq_length mock_data".split())


def wrong(wanted: Settings, t: Translation) -> list[str]:
    """The settings that are not as wanted."""
    made = effective(t)
    return [
        path
        for path in dict.fromkeys([*wanted, *made])
        if not is_same(wanted.get(path, _ABSENT), made.get(path, _ABSENT))
    ]


def _refused(t: Translation, all_of_them: bool = False) -> Iterator[str]:
    """The arguments that a command line is refused for."""
    for finding in t.errors:
        yield from finding.arguments or ("",) if all_of_them else finding.arguments


def _findings(t: Translation, found: Translation, wanted: Settings) -> Iterator[Finding]:
    made = effective(found)
    for path in wrong(wanted, found):
        if path not in wanted:  # the source leaves it to the machine
            continue
        value = shown(wanted[path])
        here = f"it becomes {shown(made[path])}" if path in made else "it is left out"
        group = group_of(path, t.versions.bridge)
        message = (
            f"{path} = {value} is lost: no argument of Megatron-LM {found.versions.megatron} says it; {here}. This "
            f"changes {CHANGES[group]}."
        )
        setting = t.args.settings.get(path) if not t.program else None
        place = t.places[setting.typed.index] if setting is not None and setting.typed is not None else None
        yield Finding("no-equivalent", message, "", (path,), place, changes=group)
    yield from found.errors
