"""A start loads what its command needs. Times are in ``benchmarks/startup.py``; what costs them is here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "examples/01_one_command/train.sh"
ARGUMENTS = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --lr 1e-4 --train-iters 10 --mock-data --tokenizer-type NullTokenizer --vocab-size 100"
).split()
TRANSLATE = ["translate", "--format", "overrides", "--world-size", "8"]
STARTS = {
    "version": ["--version"],
    "arguments": [*TRANSLATE, "--", *ARGUMENTS],
    "script": [*TRANSLATE, SCRIPT],
}

# What no start of these kinds needs, and who would need it.
NEVER = {
    "dataclasses": "records.dataclass is defined in a tenth of the time; with it come inspect, ast and tokenize",
    "inspect": "signatures are asked of code objects",
    "yaml": "rows of the usual pair come from mapping/indexes/",
    "bridge_args.mapping.grammar": "the tables themselves are read for other pairs of versions",
    "html": "only where a secret is known, or for a page",
    "bridge_args.megatron_lm.retired_flags": "only for a flag that the usual version does not have",
    "difflib": "only for a flag that does not exist",
    "subprocess": "nothing is run",
    "tempfile": "nothing is written",
    "importlib.metadata": "the installed Bridge is seen by the name of a folder",
    "logging": "what is said goes to stderr",
    "bridge_args.secret_places": "only where a word looks like a secret",
    "bridge_args.launch": "only to launch",
    "bridge_args.training": "only to train",
    "bridge_args.checkout": "only to ask a checkout",
    "bridge_args.emit.report": "only for --report",
}
ALSO_NOT = {
    "version": {"bridge_args.steps": "nothing is translated"},
    "arguments": {
        "bridge_args.script.bash.syntax": "words are no script",
        "bridge_args.script.bash.shell": "words are no script",
        "bridge_args.source.yaml": "words are no file",
    },
    "script": {"bridge_args.source.yaml": "a script is no YAML"},
}
PROGRAM = """
import sys
from bridge_args.__main__ import run
code = run()
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def loaded_by(words: list[str]) -> set[str]:
    """Modules of a start that finds no packages, whose own start-up might import any."""
    command = [sys.executable, "-S", "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("start", STARTS)
def test_a_start_loads_what_it_needs(start: str) -> None:
    loaded = loaded_by(STARTS[start])
    assert "bridge_args" in loaded
    assert {name: why for name, why in (NEVER | ALSO_NOT[start]).items() if name in loaded} == {}


def test_what_is_not_to_be_loaded_exists() -> None:
    """A module that was renamed would never be found again."""
    names = {name for also in ALSO_NOT.values() for name in also} | NEVER.keys()
    for name in names - {"yaml"}:
        path = ROOT.joinpath(*name.split("."))
        ours = path.is_dir() or path.with_suffix(".py").is_file()
        assert ours or name.partition(".")[0] in sys.stdlib_module_names, name
