"""A checkpoint of Megatron-LM is adopted: Bridge takes it, its own files stay as they were, whatever happens.

With a checkout (``MEGATRON_LM_CHECKOUT``) and Bridge, Megatron-LM itself trains and saves, and Bridge loads what was
adopted. ``BRIDGE_ARGS_ADOPT=all`` takes every recorded command line, ``BRIDGE_ARGS_ADOPT=rope,tp2`` those named.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from saved_checkpoints import (
    SMALL,
    Dtype,
    Made,
    Stored,
    content_of,
    distributed,
    effective,
    of_core_019,
    pickled,
    safetensors,
    tracker,
    zipped,
)

import bridge_args
from bridge_args.checkpoint import contents, layout, train_state, unpickle
from bridge_args.cli.main import main
from bridge_args.convert import adopt as adopt_of
from bridge_args.convert import legacy
from bridge_args.convert.provenance import hashes

ROOT = Path(bridge_args.__file__).parents[1]
VALUES = effective() | {"padded_vocab_size": 64, "consumed_valid_samples": 6, "skipped_train_samples": 0}
BRIDGES = ["--bridge", "0.6.2", "--megatron-lm", "0.16.1"]


def saved(root: Path, step: int = 5, values: dict[str, Any] = VALUES, **more: Any) -> Path:
    """As a run of Megatron-LM's leaves its folder."""
    folder = distributed(root / f"iter_{step:07d}")
    content = content_of(values) | {"iteration": step, "num_floating_point_operations_so_far": 2.5e9} | more
    zipped(pickled(content), folder / "common.pt")
    (root / layout.MEGATRON_TRACKER).write_text(f"{step}")
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved(tmp_path / "run")


def adopt(*words: object) -> int:
    return main(["checkpoint", "adopt", *map(str, words), *BRIDGES])


def config_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((folder / "run_config.yaml").read_text())
    return loaded


# ---------------------------------------------------------------- what is written


def test_a_new_folder_beside_the_source(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(source)
    assert adopt(source, "-o", tmp_path / "new") == 0
    names = ["train_state.pt", "run_config.yaml", "conversion.json"]
    paths = [f"{tmp_path}/new/iter_0000005/{name}" for name in names]
    paths += [f"{tmp_path}/new/{name}" for name in (layout.MEGATRON_TRACKER, layout.TRACKER)]
    assert capsys.readouterr().out.splitlines() == paths
    assert hashes(source) == before
    found = contents.look_into(tmp_path / "new")
    assert found.place.kind is not None and found.place.kind.name == "bridge" and found.complete
    tensors = list((tmp_path / "new" / "iter_0000005").glob("*.distcp"))
    assert len(tensors) == 2 and all(os.path.samefile(file, source / "iter_0000005" / file.name) for file in tensors)
    assert (tmp_path / "new" / layout.MEGATRON_TRACKER).read_text() == "5\n"
    config = config_of(tmp_path / "new" / "iter_0000005")
    assert (config["model"]["vocab_size"], config["model"]["hidden_size"]) == (64, 64)
    # Loaders read the section of the model alone; a run has its number formats in another.
    assert config["model"]["bf16"] is True and config["optimizer"]["bf16"] is True
    assert config["model"]["params_dtype"] == {"_target_": "torch.bfloat16", "_call_": False}
    told = json.loads((tmp_path / "new" / "iter_0000005" / "conversion.json").read_text())
    assert (told["step"], told["linked"], told["copied"], told["bridge"]) == ("checkpoint adopt", 5, 0, "0.6.2")
    assert set(told["outputs"]) == {"train_state.pt", "run_config.yaml"}


def test_in_place_only_adds(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(source)
    assert adopt(source, "--in-place") == 0
    after = hashes(source)
    assert {name: after[name] for name in before} == before
    new = {f"iter_0000005/{name}" for name in ("train_state.pt", "run_config.yaml", "conversion.json")}
    assert after.keys() - before.keys() == new | {layout.TRACKER}
    capsys.readouterr()
    assert adopt(source, "--in-place") == 1
    assert "is Bridge's already: nothing that Bridge looks for is missing" in capsys.readouterr().err
    assert hashes(source) == after
    (source / layout.TRACKER).unlink()
    file = source / "iter_0000005" / "run_config.yaml"
    somebodys = file.read_text().replace("train_iters: 5", "train_iters: 6")
    assert somebodys != file.read_text()
    file.write_text(somebodys)
    assert adopt(source, "--in-place") == 0
    assert f"{file} is there already and stays as it is" in capsys.readouterr().err
    assert file.read_text() == somebodys


def test_the_counters_are_those_of_the_run(source: Path, tmp_path: Path) -> None:
    assert adopt(source, "-o", tmp_path / "new") == 0
    file = tmp_path / "new" / "iter_0000005" / "train_state.pt"
    assert file.read_bytes() == (tmp_path / "new" / layout.TRACKER).read_bytes()
    for name, value in (("step", 5), ("consumed_train_samples", 40), ("consumed_valid_samples", 6)):
        assert unpickle.whole_number(file, name) == value
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    loaded = {name: value.item() for name, value in torch.load(file, weights_only=True).items()}
    assert loaded == {
        "step": 5, "consumed_train_samples": 40, "skipped_train_samples": 0, "consumed_valid_samples": 6,
        "floating_point_operations_so_far": 2.5e9, "do_train": False, "do_valid": False, "do_test": False,
    }  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_what_is_written_is_what_torch_reads(tmp_path: Path) -> None:
    import torch

    state = train_state.TrainState((1 << 40) + 1, 1 << 62, 3, 4, 1.5e25, True, False, True)
    (tmp_path / "file").write_bytes(train_state.written(state))
    loaded = torch.load(tmp_path / "file", weights_only=True)
    assert {name: value.item() for name, value in loaded.items()} == state._asdict()
    assert {str(value.dtype) for value in loaded.values()} == {"torch.int64", "torch.float64", "torch.bool"}


def test_arguments_among_the_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bridge since 0.6 finds them there; those before look for a file that is not there."""
    of_core_019(tmp_path / "run" / "iter_0000005", VALUES)
    (tmp_path / "run" / layout.MEGATRON_TRACKER).write_text("5")
    assert adopt(tmp_path / "run", "-o", tmp_path / "new") == 0
    words = ["checkpoint", "adopt", str(tmp_path / "run"), "-o", str(tmp_path / "old"), "--bridge", "0.3.1"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert re.search(r"Megatron Bridge 0.3.1 looks for .*/common.pt, which Megatron Core since 0.19 does not", said)
    assert not (tmp_path / "old").exists()


def test_dry_run_writes_nothing(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(source)
    assert adopt(source, "-o", tmp_path / "new", "--dry-run") == 0
    said = capsys.readouterr()
    assert "nothing is written" in said.err and not (tmp_path / "new").exists()
    assert adopt(source, "--in-place", "--dry-run") == 0
    capsys.readouterr()
    assert hashes(source) == before
    assert adopt(source, "-o", tmp_path / "new") == 0
    assert capsys.readouterr().out == said.out
    assert all(Path(line).is_file() for line in said.out.splitlines())


def test_an_earlier_iteration(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tracker of a run goes on naming its last one, so Bridge's may not name another."""
    saved(source, 10)
    assert adopt(source, "--in-place", "--iteration", "5") == 0
    assert "latest_train_state.pt is not written: Megatron-LM's names iter_0000010" in capsys.readouterr().err
    assert not (source / layout.TRACKER).exists() and (source / "iter_0000005" / "run_config.yaml").exists()
    assert adopt(source, "-o", tmp_path / "new", "--iteration", "10") == 0
    assert [file.name for file in (tmp_path / "new").glob("iter_*")] == ["iter_0000010"]
    assert layout.place_of(tmp_path / "new").iteration == 10


def test_the_trackers_iteration_and_not_the_largest(source: Path, tmp_path: Path) -> None:
    distributed(source / "iter_0000010")  # what a save has left that was killed
    assert adopt(source, "-o", tmp_path / "new") == 0
    assert [file.name for file in (tmp_path / "new").glob("iter_*")] == ["iter_0000005"]


def test_one_that_is_named_by_where_one_stands(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source / "iter_0000005")
    assert adopt(".", "--in-place") == 0
    assert (source / layout.TRACKER).exists() and (source / "iter_0000005" / "run_config.yaml").exists()


def test_an_iteration_of_one_checkpoint(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = source / "iter_0000005"
    assert adopt(folder, "-o", tmp_path / "new", "--iteration", "5") == 0
    assert adopt(folder, "-o", tmp_path / "other", "--iteration", "6") == 1
    assert f"{folder} has no checkpoint of iteration 6; it has none" in capsys.readouterr().err
    for step in range(10, 100):
        (source / f"iter_{step:07d}").mkdir()
    assert adopt(source, "-o", tmp_path / "other", "--iteration", "6") == 1
    assert "it has 95, 96, 97, 98, 99 and 86 more" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["DIR", "-o", ""], ["", "--in-place"], ["DIR", "-o", "NEW", "--tokenizer", ""]])
def test_a_variable_without_a_value(
    words: list[str], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``-o "$OUT"`` is not ``--in-place``, and ``"$DIR"`` not the folder where one stands."""
    monkeypatch.chdir(source)
    before = hashes(source)
    places = {"DIR": str(source), "NEW": str(tmp_path / "new")}
    with pytest.raises(SystemExit) as ended:
        adopt(*(places.get(word, word) for word in words))
    assert ended.value.code == 2
    assert "it is empty; has the variable in its place no value?" in capsys.readouterr().err
    assert hashes(source) == before and not (tmp_path / "new").exists()


def test_one_checkpoint_by_itself_and_a_release(source: Path, tmp_path: Path) -> None:
    moved = tmp_path / "other" / "mine"
    shutil.copytree(source / "iter_0000005", moved)
    assert adopt(moved, "-o", tmp_path / "new") == 0
    assert layout.place_of(tmp_path / "new").folder.name == "iter_0000005"
    (source / "iter_0000005").rename(source / "release")
    (source / layout.MEGATRON_TRACKER).write_text("release")
    assert adopt(source, "-o", tmp_path / "released") == 0
    assert unpickle.whole_number(tmp_path / "released" / "release" / "train_state.pt", "step") == 0
    assert not (tmp_path / "released" / layout.TRACKER).exists(), "it would name iteration 0"


def test_where_no_link_can_be_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: Any, **named: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refused)
    assert adopt(source, "-o", tmp_path / "new") == 0
    assert "5 files could not be linked, and were copied" in capsys.readouterr().err
    names = [file.name for file in (source / "iter_0000005").iterdir()]
    for name in names:
        one, other = (folder / "iter_0000005" / name for folder in (source, tmp_path / "new"))
        assert one.read_bytes() == other.read_bytes() and not os.path.samefile(one, other)


@pytest.mark.parametrize("moment", ["before it is linked", "while it is copied"])
def test_a_source_that_changes_meanwhile(
    moment: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that keeps its last checkpoints only, or saves one again."""
    file = source / "iter_0000005" / "__1_0.distcp"
    linked = adopt_of._linked

    def deleted(*words: Any) -> int:
        file.unlink()
        return linked(*words)

    def written(*words: Any) -> int:
        copied = linked(*words)
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        return copied

    monkeypatch.setattr(adopt_of, "_linked", deleted if moment == "before it is linked" else written)
    assert adopt(source, "-o", tmp_path / "new") == 1
    said = capsys.readouterr().err
    assert "changed while it was" in said and "so nothing was made" in said
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_links_of_the_source_stay_links(source: Path, tmp_path: Path) -> None:
    """What they lead to is neither copied, nor written to."""
    folder = source / "iter_0000005"
    (folder / "__0_0.distcp").rename(tmp_path / "elsewhere")
    (folder / "__0_0.distcp").symlink_to("../../elsewhere")
    (folder / "tokenizer").symlink_to(tmp_path / "nowhere")
    given = hugging_face(tmp_path / "given")
    assert adopt(source, "-o", tmp_path / "new", "--tokenizer", given) == 0
    assert os.readlink(tmp_path / "new" / "iter_0000005" / "__0_0.distcp") == str(tmp_path / "elsewhere")
    assert contents.look_into(tmp_path / "new").complete
    assert adopt(source, "--in-place", "--tokenizer", given) == 0
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------- a tokenizer


def hugging_face(folder: Path, tokens: int = 60) -> Path:
    folder.mkdir(parents=True)
    vocabulary = {f"t{number}": number for number in range(tokens)}
    text = json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary}, "added_tokens": [{"id": tokens}]})
    (folder / "tokenizer.json").write_text(text)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "code.py").write_text("raise SystemExit('executed')")
    return folder


def test_the_tokenizer_goes_with_it(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = hugging_face(tmp_path / "tokenizer")
    assert adopt(source, "-o", tmp_path / "new", "--tokenizer", given) == 0
    folder = tmp_path / "new" / "iter_0000005"
    assert sorted(file.name for file in (folder / "tokenizer").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    section = config_of(folder)["tokenizer"]
    assert section["tokenizer_model"] == str(folder / "tokenizer")
    assert section["tokenizer_type"] == "HuggingFaceTokenizer"
    assert "the run used NullTokenizer; the configuration now says HuggingFaceTokenizer" in capsys.readouterr().err
    assert adopt(source, "--in-place", "--tokenizer", given) == 0
    assert config_of(source / "iter_0000005")["tokenizer"]["tokenizer_model"] == f"{source}/iter_0000005/tokenizer"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": "x"}, "it needs tokenizer.json, or tokenizer_config.json with a vocabulary"),
        ({"tokenizer.model": "x"}, "it needs tokenizer.json, or tokenizer_config.json with a vocabulary"),
        ({"tokenizer_config.json": "{}"}, "has no vocabulary"),
        ({"tokenizer.json": "version https://git-lfs.github.com/spec/v1\n"}, "is a pointer of Git LFS"),
        ({"tokenizer_config.json": "{}", "tekken.json": "{}"}, ""),
    ],
)
def test_a_tokenizer_without_a_vocabulary(
    files: dict[str, str], said: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given").mkdir()
    for name, text in files.items():
        (tmp_path / "given" / name).write_text(text)
    code = adopt(source, "-o", tmp_path / "new", "--tokenizer", tmp_path / "given")
    if said:
        assert code == 1 and said in capsys.readouterr().err and not (tmp_path / "new").exists()
    else:
        held = (tmp_path / "new" / "iter_0000005" / "tokenizer").iterdir()
        assert code == 0 and {file.name for file in held} == set(files)


def test_a_tokenizer_of_the_type_that_was_used(tmp_path: Path) -> None:
    values = VALUES | {"tokenizer_type": "GPT2BPETokenizer", "vocab_file": "/gone/v", "merge_file": "/gone/m"}
    source = saved(tmp_path / "run", values=values)
    (tmp_path / "given").mkdir()
    for name in ("vocab.json", "merges.txt", "README.md"):
        (tmp_path / "given" / name).write_text("{}")
    assert adopt(source, "-o", tmp_path / "new", "--tokenizer", tmp_path / "given") == 0
    folder = tmp_path / "new" / "iter_0000005"
    section = config_of(folder)["tokenizer"]
    assert section["tokenizer_type"] == "GPT2BPETokenizer"
    assert section["vocab_file"] == f"{folder}/tokenizer/vocab.json"
    assert section["merge_file"] == f"{folder}/tokenizer/merges.txt"


# ---------------------------------------------------------------- what is refused


def without(name: str) -> Callable[[Path], Path]:
    def made(root: Path) -> Path:
        (saved(root) / "iter_0000005" / name).unlink()
        return root

    return made


def of_bridge(root: Path) -> Path:
    folder = distributed(root / "iter_0000005", {"common_state/shard_0_1": ("", ())})
    (folder / "run_config.yaml").write_text("checkpoint: {}\nmodel: {}\ntrain: {}\n")
    tracker(5, folder / "train_state.pt")
    tracker(5, root / layout.TRACKER)
    return root


def of_zarr(root: Path) -> Path:
    (saved(root) / "iter_0000005" / "metadata.json").write_text('{"sharded_backend": "zarr"}')
    return root


def of_fsdp(root: Path) -> Path:
    for name in ("metadata.json", "common.pt"):
        saved(root)
        (root / "iter_0000005" / name).unlink()
    (root / "iter_0000005" / "metadata.json").unlink()
    return root


def cut_short(root: Path) -> Path:
    with (saved(root) / "iter_0000005" / "__1_0.distcp").open("r+b") as file:
        file.truncate(10)
    return root


def with_configuration(text: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (saved(root) / "iter_0000005" / "run_config.yaml").write_text(text)
        return root

    return make


def hostile(root: Path) -> Path:
    zipped(b"cposix\nsystem\nX\x06\x00\x00\x00touch x\x85R.", saved(root) / "iter_0000005" / "common.pt")
    return root


def no_arguments(root: Path) -> Path:
    zipped(pickled({"iteration": 5}), saved(root) / "iter_0000005" / "common.pt")
    return root


def another_iteration(root: Path) -> Path:
    return saved(root, iteration=6)


def another_vocabulary(root: Path) -> Path:
    return saved(root, values=VALUES | {"padded_vocab_size": 128})


def of_hugging_face(root: Path) -> Path:
    safetensors(root / "model.safetensors", {"embed": ("BF16", (64, 8))})
    (root / "config.json").write_text('{"model_type": "llama"}')
    return root


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (lambda root: root / "nowhere", "nowhere does not exist"),
    "nothing in it": (lambda root: root.mkdir() or root, "is no checkpoint"),  # type: ignore[func-returns-value]
    "a file is missing": (without("__0_0.distcp"), "__0_0.distcp is missing"),
    "no index": (without(".metadata"), ".metadata is missing"),
    "a file is cut short": (cut_short, "__1_0.distcp is not whole: it has 10 of"),
    "Bridge's already": (of_bridge, "is a checkpoint of Megatron Bridge already"),
    "a torn configuration": (with_configuration("model: {num_lay"), "move it away, and another is written"),
    "a configuration of nothing": (with_configuration("a: 1"), "run_config.yaml has no section model"),
    "zarr": (of_zarr, "is saved with zarr"),
    "fsdp_dtensor": (of_fsdp, "is saved with fsdp_dtensor or torch_dcp"),
    "hostile": (hostile, "asks for posix.system"),
    "no arguments": (no_arguments, "holds no arguments of Megatron-LM"),
    "another iteration": (another_iteration, "is called iteration 5, and"),
    "another vocabulary": (another_vocabulary, "has an embedding of 64 rows, and its arguments say 128"),
    "Hugging Face's": (of_hugging_face, "is a model of Hugging Face's"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_adopted_is_told(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = REFUSED[what]
    root = make(tmp_path / "run")
    before = hashes(tmp_path)
    for words in (["--in-place"], ["-o", str(tmp_path / "new")]):
        assert adopt(root, *words) == 1
        assert message in capsys.readouterr().err
    assert hashes(tmp_path) == before and not (tmp_path / "new").exists() and not Path("x").exists()


def test_all_reasons_at_once(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "iter_0000005" / "__0_0.distcp").unlink()
    given = hugging_face(tmp_path / "tokenizer", tokens=500)
    before = hashes(tmp_path)
    assert adopt(source, "-o", source / "inside", "--tokenizer", given) == 1
    said = capsys.readouterr().err
    assert "__0_0.distcp is missing" in said and "lies inside of the input" in said
    assert "has a token 500, and the embedding of the model has 64 rows" in said
    assert adopt(source, "-o", source, "--iteration", "7", "--tokenizer", tmp_path / "none") == 1
    said = capsys.readouterr().err
    assert "has no checkpoint of iteration 7; it has 5" in said and "is the input itself" in said
    assert "none does not exist" in said
    assert hashes(tmp_path) == before


def test_where_it_goes_must_be_said(source: Path) -> None:
    for words in ([], ["--in-place", "-o", "x"]):
        with pytest.raises(SystemExit) as stopped:
            adopt(source, *words)
        assert stopped.value.code == 2


# ---------------------------------------------------------------- a file for each rank


def of_ranks(root: Path, state: dict[str, Any] | None = None) -> Path:
    storage = Stored(("storage", Dtype("FloatStorage"), "0", "cpu", 6))
    weight = Made("torch._utils._rebuild_tensor_v2", (storage, 0, (2, 3), (3, 1), False, None))
    content = content_of(VALUES) | {"model": {"a.weight": weight, "a._extra_state": None}} | (state or {})
    file = zipped(pickled(content), root / "iter_0000005" / "mp_rank_00" / "model_optim_rng.pt")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("common/data/0", struct.pack("<6f", *range(6)))
        archive.writestr("common/byteorder", "little")
    (root / layout.MEGATRON_TRACKER).write_text("5")
    return root


def test_what_speaks_against_converting_ranks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = of_ranks(tmp_path / "run")
    before = hashes(tmp_path)
    monkeypatch.setattr(legacy.installed, "refusal", lambda version: "there is no Bridge")
    assert adopt(root, "--in-place") == 1
    said = capsys.readouterr().err
    assert "makes a new folder: name it with -o" in said and "there is no Bridge" in said
    assert "--ckpt-convert-format torch_dist --ckpt-convert-save DIR" in said
    of_ranks(root, content_of(VALUES | {"expert_tensor_parallel_size": 2, "use_legacy_models": True}))
    before = hashes(tmp_path)
    assert adopt(root, "-o", tmp_path / "new") == 1
    said = capsys.readouterr().err
    assert "experts with a tensor parallel size of their own (2)" in said and "the models before Megatron Core" in said
    assert hashes(tmp_path) == before


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_tensors_of_a_rank(tmp_path: Path) -> None:
    """What a file says of sizes and places is looked at; torch.load has the same numbers."""
    import torch

    from bridge_args.convert import rank_file

    def read(root: Path) -> dict[str, Any]:
        return dict(rank_file.tensors_of(root / "iter_0000005" / "mp_rank_00" / "model_optim_rng.pt", "model"))

    ((name, tensor),) = read(of_ranks(tmp_path / "run")).items()
    assert name == "a.weight" and torch.equal(tensor, torch.arange(6.0).reshape(2, 3))
    for number, wrong in enumerate(
        [
            (("storage", Dtype("FloatStorage"), "0", "cpu", 6), 1, (2, 3), (3, 1)),  # ends behind its bytes
            (("storage", Dtype("FloatStorage"), "1", "cpu", 6), 0, (2, 3), (3, 1)),  # has none
            (("storage", Dtype("FloatStorage"), "0", "cpu", 6), -1, (2, 3), (3, 1)),
            (("storage", Dtype("FloatStorage"), "0", "cpu", 6), 0, (2, 3), (1 << 40, 1)),
            (("storage", Dtype("FloatStorage"), "0", "cpu", 6), 0, (2, "3"), (3, 1)),
            (("storage", Dtype("QInt8Storage"), "0", "cpu", 6), 0, (2, 3), (3, 1)),
        ]
    ):
        key, *rest = wrong
        made = Made("torch._utils._rebuild_tensor_v2", (Stored(key), *rest, False, None))
        with pytest.raises(unpickle.Refused, match="a.weight"):
            read(of_ranks(tmp_path / str(number), {"model": {"a.weight": made}}))
    with pytest.raises(unpickle.Refused, match="is no tensor"):
        read(of_ranks(tmp_path / "text", {"model": {"a.weight": "text"}}))
    marked = torch.randn(4)
    marked.tensor_model_parallel = True  # type: ignore[attr-defined]  # as Megatron-LM marks them
    saved_by_torch = {"d": marked, "e": torch.nn.Parameter(torch.randn(2))}
    saved_by_torch |= {"a": torch.randn(3, 5).t(), "b": torch.arange(4, dtype=torch.bfloat16)[1:], "c": torch.tensor(3)}
    folder = tmp_path / "iter_0000005" / "mp_rank_00"
    folder.mkdir(parents=True)
    torch.save({"model": saved_by_torch}, folder / "model_optim_rng.pt")
    found = read(tmp_path)
    assert found.keys() == saved_by_torch.keys()
    assert all(
        torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in saved_by_torch.items()
    )
    file = folder / "model_optim_rng.pt"
    with zipfile.ZipFile(file) as archive:
        held = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held:
            archive.writestr(name, content)
    with pytest.raises(unpickle.Refused, match="is compressed"):
        read(tmp_path)
    torch.save({"model": saved_by_torch}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(unpickle.Refused, match=r"before torch 1\.6"):
        read(tmp_path)


# ---------------------------------------------------------------- kills and full disks

# The N-th of the calls that change a folder is the last thing that the process does.
KILLED = """
import os, signal, sys
from bridge_args.cli.main import main
left = int(sys.argv[1])
def counted(call):
    def last(*words, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **named)
    return last
for name in ("link", "unlink", "rename", "fsync", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("where", ["in place", "new"])
def test_killed_at_any_moment(where: str, source: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    words = ["checkpoint", "adopt", str(source), *BRIDGES]
    words += ["--in-place"] if where == "in place" else ["-o", str(new)]
    words += ["--tokenizer", str(hugging_face(tmp_path / "tokenizer"))]
    before = hashes(source)
    kills = 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(kills), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        after = hashes(source)
        assert {name: after[name] for name in before} == before
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        kills += 1
        found = contents.look_into(
            layout.place_of(source)._replace(kind=layout.kind_of(source / "iter_0000005", "bridge"))
        )
        assert found.complete and found.saved is not None, "Megatron-LM goes on from it"
        if new.exists():  # killed behind the rename
            assert contents.look_into(new).complete
            shutil.rmtree(new)
        config = source / "iter_0000005" / "run_config.yaml"
        if config.exists():
            assert {"checkpoint", "model", "train"} <= config_of(config.parent).keys()
            assert (config.parent / "train_state.pt").exists() and (config.parent / "tokenizer").exists()
        if (source / layout.TRACKER).exists():
            assert config.exists(), "the tracker comes last"
        for left in [*source.rglob("run_config.yaml"), *source.rglob("train_state.pt"), source / layout.TRACKER]:
            if where == "in place" and kills % 2 and left.exists():
                left.unlink()  # begun anew, and gone on with, in turns
    assert kills > 5
    whole = contents.look_into(source if where == "in place" else new)
    assert whole.place.kind is not None and whole.place.kind.name == "bridge" and whole.complete


@pytest.mark.parametrize("where", ["in place", "new"])
def test_a_disk_that_takes_no_more(where: str, source: Path, tmp_path: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # the configuration is longer

    words = ["--in-place"] if where == "in place" else ["-o", str(tmp_path / "new")]
    before = hashes(source)
    command = [sys.executable, "-m", "bridge_args", "checkpoint", "adopt", str(source), *words, *BRIDGES]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, preexec_fn=small)
    target = source if where == "in place" else tmp_path / "new"
    assert done.returncode == 1 and f"{target} cannot be written: File too large; " in done.stderr, done.stderr
    after = hashes(source)
    assert {name: after[name] for name in before} == before
    assert not list(tmp_path.rglob("run_config.yaml")) and not list(tmp_path.rglob(".*-*unfinished*"))
    assert not list(tmp_path.rglob(".bridge-args-*")) and not (tmp_path / "new").exists()
    assert subprocess.run(command, env=env, capture_output=True).returncode == 0


# ---------------------------------------------------------------- the real programs

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ASKED = os.environ.get("BRIDGE_ARGS_ADOPT", "")
LEFT_OUT = {"--save": 1, "--load": 1, "--save-interval": 1, "--exit-interval": 1, "--skip-train": 0}
LEFT_OUT |= {"--no-save-optim": 0, "--no-load-optim": 0, "--override-opt-param-scheduler": 0}


OLD_AND_NEW = {
    "dense": "--swiglu --normalization RMSNorm --group-query-attention --num-query-groups 2 --disable-bias-linear "
    "--untie-embeddings-and-output-weights --position-embedding-type rope --rotary-base 500000",
    "experts": "--disable-bias-linear --num-experts 4 --moe-router-topk 2 --moe-aux-loss-coeff 0.01 "
    "--moe-token-dispatcher-type alltoall",
}


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
@pytest.mark.parametrize("words", OLD_AND_NEW.values(), ids=list(OLD_AND_NEW))
def test_arguments_as_the_checkout_itself_has_them(words: str, tmp_path: Path) -> None:
    """What its own parser and validate_args make of a command line means after a save what it meant before."""
    typed = [word for word in SMALL if word != "--bf16"] + words.split() + ["--lr-warmup-iters", "2"]
    live = bridge_args.translate(typed, 1, CHECKOUT)
    assert not live.errors
    values = {name: live.args[name] for name in live.args} | {"rank": 0, "world_size": 1, "padded_vocab_size": 64}
    adopted = saved(tmp_path / "run", values=values)
    words_of_versions = ["--bridge", live.versions.bridge]
    assert main(["checkpoint", "adopt", str(adopted), "-o", str(tmp_path / "new"), *words_of_versions]) == 0
    folder = tmp_path / "new" / "iter_0000005"
    assert json.loads((folder / "conversion.json").read_text())["megatron_lm"] == live.versions.megatron
    meant, found = bridge_args.to_run_config(live), config_of(folder)
    meant["model"]["vocab_size"] = 64
    for section in ("model", "optimizer", "scheduler", "train", "ddp", "dataset", "tokenizer"):
        assert found[section] == json.loads(json.dumps(meant[section])), section


def asked() -> list[str]:
    from recorded import curve_names

    if not CHECKOUT or importlib.util.find_spec("megatron") is None:
        return []
    return curve_names(_recorded()) if ASKED == "all" else ASKED.split(",") if ASKED else ["bf16", "tp2"]


def _recorded() -> str:
    """The version whose command lines were recorded that the checkout takes."""
    from bridge_args.pairs.pairs import megatron_version

    return "0.19.0" if megatron_version(CHECKOUT) >= "0.19" else "0.16.1"


class Programs:
    """Megatron-LM, which saves, and Bridge, which loads."""

    def __init__(self) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "against"))
        from bridge_loads import Loader
        from stage import Stage

        self.stage, self.loader = Stage("megatron_lm", CHECKOUT), Loader()

    def close(self) -> None:
        self.stage.close()
        self.loader.close()


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    made = Programs()
    yield made
    made.close()


def placed(word: str, data: Path, folder: Path) -> str:
    """A word of a recorded command line, with the data where they lie."""
    if not (data / word).is_file():
        return str(data / word) if (data / word).exists() or (data / f"{word}.bin").exists() else word
    text = (data / word).read_text()  # a list of data
    for file in data.glob("*.bin"):
        text = text.replace(file.stem, str(data / file.stem))
    (folder / word).write_text(text)
    return str(folder / word)


def words_of(name: str, folder: Path) -> tuple[list[str], int]:
    """A recorded command line without what it saves and loads, and its number of ranks."""
    from recorded import curve, curves_folder

    recorded, data = curve(name, _recorded()), curves_folder() / "data"
    words: list[str] = []
    drop = 0
    for word in recorded["argv"]:
        drop = LEFT_OUT[word] + 1 if word in LEFT_OUT else drop
        if not drop:
            words.append(placed(word, data, folder))
        drop = max(drop - 1, 0)
    return words, recorded["nproc"]


def trained(name: str, programs: Programs, folder: Path, *more: str) -> Path:
    """What Megatron-LM saves of a recorded command line after two steps."""
    words, ranks = words_of(name, folder)
    root = folder / "-".join(["run", *more])
    words += ["--save", str(root), "--save-interval", "2", "--exit-interval", "2", *more]
    translation = bridge_args.translate(words, ranks)
    ran = programs.stage.run(bridge_args.to_run_config(translation), words, ranks, 2)
    assert not ran.error, ran
    return root


@pytest.mark.skipif(not ASKED, reason="BRIDGE_ARGS_ADOPT asks for it")
@pytest.mark.parametrize("name", asked())
def test_a_file_for_each_rank(name: str, programs: Programs, tmp_path: Path) -> None:
    """The same run, saved in both ways: after adopting, the numbers are the same to the bit."""
    import torch
    from bridge_loads import read

    found = []
    for format in ("torch", "torch_dist"):
        root = trained(name, programs, tmp_path, "--ckpt-format", format)
        assert main(["checkpoint", "adopt", str(root), "-o", str(tmp_path / format)]) == 0
        told = programs.loader.load(tmp_path / format / "iter_0000002")
        assert (told["error"], told.get("differing"), told.get("unread"), told.get("latest")) == ("", [], [], 2), told
        found.append(read(tmp_path / format / "iter_0000002"))
    converted, saved = found
    assert converted.keys() == saved.keys()
    assert all(torch.equal(converted[key], saved[key]) for key in saved)
    assert config_of(tmp_path / "torch" / "iter_0000002")["checkpoint"]["save_optim"] is False


@pytest.mark.skipif(not (ASKED and asked()), reason="BRIDGE_ARGS_ADOPT asks for it")
def test_a_hybrid_model(programs: Programs, tmp_path: Path) -> None:
    """Attention and MLPs only: layers of Mamba need a GPU."""
    new = Path(CHECKOUT, "pretrain_hybrid.py").is_file()
    name, place = ("layer", "hybrid.hybrid") if new else ("override", "mamba.mamba")
    words = [word for word in SMALL if word not in ("--swiglu", "--bf16")]
    words += ["--num-layers", "4", "--no-gradient-accumulation-fusion", f"--hybrid-{name}-pattern", "*-*-"]
    words += ["--spec", f"megatron.core.models.{place}_layer_specs", f"{place.partition('.')[0]}_stack_spec"]
    words += ["--save", str(tmp_path / "run"), "--save-interval", "2", "--exit-interval", "2", "--train-iters", "4"]
    program = "pretrain_hybrid.py" if new else "pretrain_mamba.py"
    translation = bridge_args.translate(words, 1, program=program)
    ran = programs.stage.run(bridge_args.to_run_config(translation), words, 1, 2, program=program)
    assert not ran.error, ran
    assert main(["checkpoint", "adopt", str(tmp_path / "run"), "-o", str(tmp_path / "new")]) == 0
    told = programs.loader.load(tmp_path / "new" / "iter_0000002")
    assert (told["error"], told.get("differing"), told.get("unread")) == ("", [], []), told
    assert told["type"] in ("MambaModelProvider", "HybridModelProvider")


@pytest.mark.skipif(not ASKED, reason="BRIDGE_ARGS_ADOPT asks for it")
@pytest.mark.parametrize("name", asked()[:1])
def test_bridge_goes_on_where_megatron_lm_was(name: str, programs: Programs, tmp_path: Path) -> None:
    """After two steps of Megatron-LM come the third and the fourth of its own run without a break, in Bridge."""
    from recorded import curve

    root = trained(name, programs, tmp_path)
    assert main(["checkpoint", "adopt", str(root), "-o", str(tmp_path / "new")]) == 0
    (root / layout.MEGATRON_TRACKER).unlink()
    words, ranks = words_of(name, tmp_path)
    options = ["--real-folders", "--device", "cpu", "--format", "json", "--nproc", str(ranks), "--steps", "2"]
    command = [sys.executable, "-m", "bridge_args", "rehearse", *options, "--", *words, "--load", str(tmp_path / "new")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [said for said in map(json.loads, done.stdout.splitlines()) if "learning_rate" in said]
    wanted = curve(name, _recorded())["curve"][2:4]
    assert [step["iteration"] for step in steps] == [3, 4]
    for ours, theirs in zip(steps, wanted, strict=True):
        assert (ours["consumed_samples"], ours["learning_rate"]) == (
            theirs["consumed_samples"],
            theirs["learning_rate"],
        )
        assert math.isclose(ours["lm_loss"], theirs["lm_loss"], rel_tol=2e-6), (ours, theirs)


@pytest.mark.parametrize("name", asked())
def test_bridge_has_every_number(name: str, programs: Programs, tmp_path: Path) -> None:
    root = trained(name, programs, tmp_path)
    assert main(["checkpoint", "adopt", str(root), "-o", str(tmp_path / "new")]) == 0
    (folder,) = (tmp_path / "new").glob("iter_*")
    told = programs.loader.load(folder)
    assert (told["error"], told.get("differing"), told.get("unread")) == ("", [], []), told
    assert told["tensors"] >= 9 and told["numbers"] > 10_000
    assert folder.name == f"iter_{told['step']:07d}" and told["latest"] == told["step"] == 2
    assert told["consumed_train_samples"] > 0 and told["operations"] > 0
