"""Makes the files of this folder from the full recordings: ``python tests/recorded/thin.py``.

Each function takes what ``tests/helpers/recorded.py`` gives and returns the text of a file. It keeps what a test
compares and nothing else, so what is thin already stays as it is.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

CASE = ("argv", "entry", "env", "world_size", "device_capability", "same_command_line")
RESULT = ("accepted", "accepted_after_dropping", "argv_after_dropping", "unknown_flags", "args_after_setup")
DERIVED = ("train_iters", "num_microbatches_at_start", "expert_data_parallel_size")
FLAG = (
    "options", "dest", "action", "type", "type_enums", "nargs", "choices", "default", "parsed_default", "const",
    "required", "group", "generated_from", "requires_package", "mutually_exclusive", "default_depends_on_env",
)  # fmt: skip
PARSER = ("ref", "commit", "args_defaults", "flags")
SECTION = ("name", "type", "alternatives", "accepts_none", "required")
CLASS = ("abstract", "custom_init", "fields")
FIELD = ("name", "type", "required", "default", "choices", "init", "default_depends_on", "enums")
CONFIGURATION = ("commit", "megatron_lm_commit", "sections", "classes", "mixed_precision_presets")
CURVE = ("argv", "earlier_argv", "nproc", "runs_on_cpu", "curve", "evaluations")
STEP = ("iteration", "lm_loss", "grad_norm", "learning_rate", "global_batch_size", "consumed_samples", "skipped")
MADE_FROM_TEXT = ("hf_tokenizer", "gpt2_bpe", "words_text_document")  # data that is not of random numbers


def only(keys: Sequence[str], mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mapping[key] for key in keys if key in mapping}


def text_of(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def command_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """First the commonest value of each effective argument, then the rows, with the values that are others."""
    base = commonest([row["result"]["args"] for row in rows if "args" in row["result"]])
    lines = [line_of(base)]
    for row in rows:
        result = only(RESULT, row["result"])
        if "error" in row["result"]:
            result["error"] = only(("stage", "type", "message"), row["result"]["error"])
        if "args" in row["result"]:
            namespace = row["result"]["args"]
            result["args"] = {name: value for name, value in namespace.items() if text_of(value) != base[name]}
            result["without"] = sorted(base.keys() - namespace.keys())
            result["derived"] = only(DERIVED, row["result"]["derived"])
            if "transformer" in row["result"]:
                result["transformer"] = only(("num_query_groups",), row["result"]["transformer"])
        lines.append(text_of({**only(("id", "file"), row), "case": only(CASE, row["case"]), "result": result}))
    return "\n".join(lines) + "\n"


def containers(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """As ``command_lines``: the commonest value of each field, then what is another in each row."""
    base = commonest(list(rows.values()))
    lines = [line_of(base)]
    for name, fields in rows.items():
        others = {path: value for path, value in fields.items() if text_of(value) != base[path]}
        lines.append(text_of({"id": name, "fields": others, "without": sorted(base.keys() - fields.keys())}))
    return "\n".join(lines) + "\n"


def commonest(namespaces: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The value that each name has most often, as text."""
    counted: dict[str, Counter[str]] = {}
    for namespace in namespaces:
        for name, value in namespace.items():
            counted.setdefault(name, Counter())[text_of(value)] += 1
    # of values that are as common, the first in the alphabet, so that the same recordings make the same file
    return {name: min(found, key=lambda text: (-found[text], text)) for name, found in sorted(counted.items())}


def line_of(base: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{text_of(name)}:{value}" for name, value in base.items()) + "}"


def parsers(versions: Mapping[str, Mapping[str, Any]]) -> str:
    """Every fact of an argument once; each version names the facts that hold for it by number."""
    facts = Facts()
    thinned = {}
    for version, observed in versions.items():
        thinned[version] = {**only(PARSER, observed), "flags": [facts.number(FLAG, flag) for flag in observed["flags"]]}
    return facts.text(thinned)


def configurations(versions: Mapping[str, Mapping[str, Any]]) -> str:
    """As ``parsers``, with the fields of classes."""
    facts = Facts()
    thinned = {}
    for version, observed in versions.items():
        classes = {
            name: {**only(CLASS, cls), "fields": [facts.number(FIELD, field) for field in cls["fields"]]}
            for name, cls in sorted(observed["classes"].items())
        }
        sections = [only(SECTION, section) for section in observed["sections"]]
        presets = {
            name: only(("names", "values"), preset) for name, preset in observed["mixed_precision_presets"].items()
        }
        thinned[version] = {
            **only(CONFIGURATION, observed),
            "sections": sections,
            "classes": classes,
            "mixed_precision_presets": presets,
        }
    return facts.text(thinned)


class Facts:
    """What several versions have in common is written once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, keys: Sequence[str], mapping: Mapping[str, Any]) -> int:
        return self.numbers.setdefault(text_of(only(keys, mapping)), len(self.numbers))

    def text(self, versions: Mapping[str, Any]) -> str:
        held = ",\n".join(self.numbers)
        named = ",\n".join(f"{text_of(version)}:{text_of(found)}" for version, found in sorted(versions.items()))
        return f'{{"facts":[\n{held}\n],"versions":{{\n{named}\n}}}}\n'


def curve(recorded: Mapping[str, Any]) -> str | None:
    """None where the run was not one of a CPU, or read data that is not of random numbers."""
    if not recorded.get("runs_on_cpu") or any(word.startswith(MADE_FROM_TEXT) for word in recorded["argv"]):
        return None
    steps = [only(STEP, step) for step in recorded["curve"]]
    return text_of({**only(CURVE, recorded), "curve": steps}) + "\n"


def curves(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """One run a line, with its name."""
    thinned = {name: text for name, run in runs.items() if (text := curve(run)) is not None}
    return "".join(f'{{"name":{text_of(name)},{text[1:]}' for name, text in thinned.items())


def guide(rows: Sequence[Sequence[str]]) -> str:
    """Flags and settings, no sentences."""
    return "".join("\t".join(row) + "\n" for row in rows)


def main() -> None:
    sys.path.insert(0, str(HERE.parent / "helpers"))
    import recorded

    for name, text in {
        **{
            f"command_lines_{version}.jsonl.gz": command_lines(recorded.command_lines(version))
            for version in recorded.RECORDED
        },
        **{
            f"containers_{version}.jsonl.gz": containers(recorded.containers(version))
            for version in recorded.CONTAINERS
        },
        **{f"curves_{version}.jsonl.gz": curves(recorded.curves(version)) for version in recorded.TRAINED[1:]},
        "parsers.json.gz": parsers(recorded.parsers()),
        "configurations.json.gz": configurations(recorded.configurations()),
    }.items():
        (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    (HERE / "flag_guide.tsv").write_text(guide(recorded.guide()), encoding="utf-8")
    source, target = recorded.curves_folder(), HERE / "curves"
    (target / "data").mkdir(parents=True, exist_ok=True)
    for name in recorded.curve_names():
        text = curve(recorded.curve(name))
        if text is not None:
            (target / f"{name}.json").write_text(text, encoding="utf-8")
    for file in sorted((source / "data").iterdir()):
        if file.is_file() and not file.name.startswith(MADE_FROM_TEXT) and source != target:
            shutil.copyfile(file, target / "data" / file.name)


if __name__ == "__main__":
    main()
