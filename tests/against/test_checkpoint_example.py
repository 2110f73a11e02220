"""The example of checkpoints, by real programs: Megatron-LM trains, Bridge exports, transformers generates.

It needs a checkout (``MEGATRON_LM_CHECKOUT``) and Bridge. The model is trained on the emulated CPU, for four steps;
the rest is as the example has it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import converting
import pytest
import tiny_models

from bridge_args.source.read import from_path

transformers = pytest.importorskip("transformers")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "06_checkpoints"
pytestmark = pytest.mark.skipif(not converting.CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the script has been run, by what ``verify`` hands over from Megatron-LM."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    tiny_models.tokenizer(folder / "tokenizer")
    words = [word.text for word in from_path(str(folder / "train.sh")).command.argv]
    less = {"--train-iters": 4, "--save-interval": 2, "--seq-length": 32, "--eval-interval": 4, "--lr-warmup-iters": 1}
    for flag, value in less.items():
        words[words.index(flag) + 1] = str(value)
    asked = ("verify", "--megatron-lm", converting.CHECKOUT, "--hand-over-at", 2, "--steps", 4, "--workdir", "wd")
    converting.command(folder, *asked, "--device", "cpu", "--", *words)
    shutil.copytree(folder / "wd" / "hand_over", folder / "checkpoints")
    return folder


def test_the_example_runs_to_its_end(trained: Path) -> None:
    page = (trained / "README.md").read_text()
    lines = re.findall(r"^(?:bridge-args|python) [^#\n]*", page, re.M)
    assert [line.split()[:3][-1] for line in lines] == ["inspect", "adopt", "export", "exported"]
    before = converting.sums(trained / "checkpoints")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = []
    for line in lines:
        with (trained / "said.txt").open("w") as file:  # processes that save may hold it longer than they live
            done = subprocess.run(line, shell=True, cwd=trained, env=env, stdout=file, stderr=file, timeout=600)
        said.append((trained / "said.txt").read_text())
        assert done.returncode == 0, f"{line}\n{said[-1]}"
    assert "complete: yes" in said[0] and "iteration: 2" in said[0]
    assert converting.sums(trained / "checkpoints") == before
    assert "nce upon a time" in said[-1]
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(trained / "exported", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "exported")
    assert model.config.vocab_size == len(tokenizer) == model.get_input_embeddings().weight.shape[0]
