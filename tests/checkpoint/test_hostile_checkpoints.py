"""Checkpoints of strangers: refused with a message, in little time and memory, whatever is in them."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import bridge_args
from bridge_args.checkpoint import saved_args
from bridge_args.steps import translate_saved

GOOD = {
    "num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "seq_length": 64, "max_position_embeddings": 64,
    "micro_batch_size": 1, "global_batch_size": 1, "train_iters": 1, "lr": 1e-4, "mock_data": True,
    "tokenizer_type": "NullTokenizer", "vocab_size": 128, "bf16": True, "eval_interval": 1, "world_size": 1,
}  # fmt: skip
ARGS = b"X\x04\x00\x00\x00args"
NAMESPACE = b"cargparse\nNamespace\n)\x81}X\x01\x00\x00\x00x"  # ... value, then s b


def saved(folder: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A folder as ``--save`` leaves it, with these bytes as its pickle."""
    (folder / "iter_0000001").mkdir(parents=True, exist_ok=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("1")
    with zipfile.ZipFile(folder / "iter_0000001" / "common.pt", "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
    return folder


def inspected(folder: Path, *command: str, megabytes: int = 700) -> subprocess.CompletedProcess[str]:
    """A command of its own process on the folder, with little memory."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))

    root = str(Path(bridge_args.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "bridge_args", *(command or ("checkpoint", "inspect")), str(folder)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limits,
    )


def in_namespace(value: bytes) -> bytes:
    return b"\x80\x02}" + ARGS + NAMESPACE + value + b"sbs."


def doubled(times: int, code: bytes) -> bytes:
    """One value in a container, that twice in the next, and so on: few bytes, 2^times values."""
    pairs = (b"(h" + bytes([i]) + b"h" + bytes([i]) + code + b"q" + bytes([i + 1]) + b"0" for i in range(times))
    return b"]q\x000" + b"".join(pairs) + b"h" + bytes([times])


BOMBS: dict[str, bytes] = {
    "a key of nested tuples": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.",
    "a set of nested tuples": b"\x80\x02}" + ARGS + b"c__builtin__\nset\n(]" + b")" + b"\x85" * 200_000 + b"atRs.",
    "nested tuples as the value": in_namespace(b")" + b"\x85" * 200_000),
    "nested lists": in_namespace(b"]" * 100_000 + b"a" * 99_999),
    "nested mappings": in_namespace(b"}X\x01\x00\x00\x00k" * 50_000 + b"N" + b"s" * 50_000),
    "shared lists": in_namespace(doubled(60, b"l")),
    "shared tuples": in_namespace(doubled(60, b"t")),
    "itself": b"\x80\x02}q\x00" + ARGS + b"h\x00s.",
    "a list of itself": in_namespace(b"]q\x05h\x05a"),
    "a memo index of a billion": b"\x80\x02}r\xff\xff\xff\x3f" + ARGS + b"Ns.",
    "a long number": in_namespace(b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000),
    "a number of a million digits": in_namespace(b"I" + b"9" * 1_000_000 + b"\n"),
    "an array of no bytes": in_namespace(b"\x96" + struct.pack("<Q", 1 << 40)),
    "a text longer than the file": in_namespace(b"\x8d" + struct.pack("<Q", 1 << 50)),
    "millions of sets": b"\x80\x04(" + b"\x8f" * 8_000_000 + b"t.",
    "the storage of a bomb": b"\x80\x02(" + doubled(60, b"t") + b"NN" + b"h\x3ct" + b"Q.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str, tmp_path: Path) -> None:
    done = inspected(saved(tmp_path / "ck", BOMBS[name], zipfile.ZIP_DEFLATED))
    assert done.returncode == 1, (done.returncode, done.stderr[-300:])
    assert "Traceback" not in done.stderr and "common.pt" in done.stderr


LISTS = b"[" + b"[]," * 10_000_000 + b"[]]"
OF_OTHER_KINDS: dict[str, tuple[str, bytes]] = {
    "an index of millions of sets": (".metadata", b"\x80\x04(" + b"\x8f" * 8_000_000 + b"t."),
    "an index of shared tuples": (".metadata", b"\x80\x02" + doubled(60, b"t") + b"."),
    "an index of nested tuples": (".metadata", b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."),
    "a header of millions of lists": ("model.safetensors", struct.pack("<Q", 16 << 20) + LISTS[: 16 << 20]),
    "an index of millions of lists": ("model.safetensors.index.json", LISTS),
    "a configuration of nested lists": ("adapter_config.json", b"[" * 1_000_000),
}


@pytest.mark.parametrize("name", OF_OTHER_KINDS)
def test_a_bomb_of_another_kind_is_told(name: str, tmp_path: Path) -> None:
    file, content = OF_OTHER_KINDS[name]
    (tmp_path / file).write_bytes(content)
    done = inspected(tmp_path)
    assert done.returncode == 1 and done.stderr == "", (done.returncode, done.stderr[-300:])
    assert "complete: no" in done.stdout and str(tmp_path / file) in done.stdout and len(done.stdout) < 3000


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    done = inspected(saved(tmp_path / "ck", b"\x80\x02" + b"N0" * 50_000_000 + b"N.", zipfile.ZIP_DEFLATED))
    assert done.returncode == 1 and "bytes; that is no list of arguments" in done.stderr


def test_a_file_with_a_hole_of_gigabytes_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "ck", in_namespace(b"N")) / "iter_0000001" / "common.pt"
    content = bytearray(file.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + 12 : end + 16] = struct.pack("<I", 3 << 30)  # the size of the directory
    with file.open("wb") as opened:
        opened.write(b"PK\x03\x04")
        opened.truncate(4 << 30)
        opened.seek(4 << 30)
        opened.write(content[end:])
    done = inspected(tmp_path / "ck")
    assert done.returncode == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ("latest_checkpointed_iteration.txt", "iter_0000001/common.pt"))
def test_pipes_and_devices_are_not_waited_for(where: str, tmp_path: Path) -> None:
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir())):
        folder = saved(tmp_path / f"ck{number}", in_namespace(b"N"))
        (folder / where).unlink()
        make(folder / where)  # type: ignore[operator]
        done = inspected(folder)
        assert done.returncode == 1 and "Traceback" not in done.stderr


def test_a_good_one_is_still_read(tmp_path: Path) -> None:
    content = {"args": argparse.Namespace(**GOOD), "checkpoint_version": 3.0, "iteration": 1}
    for protocol in range(2, 6):  # torch.save writes 2
        folder = saved(tmp_path / f"ck{protocol}", pickle.dumps(content, protocol))
        read = saved_args.read(folder)
        assert read.values == GOOD and read.checkpoint_version == 3.0
    assert not translate_saved(read.values).errors


WRONG = (
    {"a": 1}, [1], (1, [2]), 10**400, -1, 0, 1e400, float("nan"), "", "x" * 10_000, "\0", b"bytes", True, None,
    [[[[]]]], {}, [None], "\ud800", 1 << 70, ["a", 1], {"num_layers": {"num_layers": 1}},
)  # fmt: skip


def test_wrong_types_end_in_a_translation_or_a_message() -> None:
    """Every saved argument with every kind of wrong value, in a sample that the seed decides."""
    rng = random.Random(int(os.environ.get("BRIDGE_ARGS_SEED", "7")))
    from bridge_args.megatron_lm import catalog

    names = sorted(catalog.load("0.16.1").defaults) + ["consumed_train_samples", "world_size", "checkpoint_version"]
    for _ in range(int(os.environ.get("BRIDGE_ARGS_FUZZ", "40"))):
        values = {**GOOD, **{rng.choice(names): rng.choice(WRONG) for _ in range(rng.choice((1, 1, 2, 5)))}}
        try:
            translation = translate_saved(values)
        except ValueError as problem:
            assert "not those of a run" in str(problem)
        else:
            bridge_args.report(translation, "json")


def test_a_wrong_type_names_the_argument(tmp_path: Path) -> None:
    content = {"args": argparse.Namespace(**{**GOOD, "data_path": {"a": 1}}), "checkpoint_version": 10**400}
    done = inspected(saved(tmp_path / "ck", pickle.dumps(content, 2)), "translate")
    assert done.returncode == 1 and "data_path is a dict" in done.stderr and "Traceback" not in done.stderr


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, left out, repeated, or cut off."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(made)) if made else 0
        kind = rng.randrange(5)
        if kind == 0 and made:
            made[at] = rng.randrange(256)
        elif kind == 1:
            del made[at : at + rng.randrange(8)]
        elif kind == 2:
            made[at:at] = made[at : at + rng.randrange(64)]
        elif kind == 3:
            made[at:at] = bytes([rng.choice(b"()]}.aesutlqrhR\x81\x85\x86\x87bc0(")]) * rng.choice((1, 1, 3, 1000))
        else:
            del made[at:]
    return bytes(made)


@pytest.mark.parametrize("of", ("pickle", "archive", "file before torch 1.6"))
def test_changed_bytes_end_in_values_or_in_a_message(of: str, tmp_path: Path) -> None:
    """``BRIDGE_ARGS_FUZZ=N`` for more than a few."""
    rng = random.Random(int(os.environ.get("BRIDGE_ARGS_SEED", "7")))
    content = {"args": argparse.Namespace(**GOOD), "checkpoint_version": 3.0, "iteration": 1}
    pickles = [pickle.dumps(content, protocol) for protocol in range(2, 6)]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("archive/data.pkl", pickles[2])
        opened.writestr("archive/version", "3")
    starts: dict[str, Callable[[], bytes]] = {
        "pickle": lambda: rng.choice(pickles),
        "archive": lambda: archive.getvalue(),
        "file before torch 1.6": lambda: b"".join(pickle.dumps(n, 2) for n in (1, 1001, {})) + pickles[2],
    }
    for _ in range(int(os.environ.get("BRIDGE_ARGS_FUZZ", "150"))):
        changed = mutated(starts[of](), rng)
        file = tmp_path / "common.pt"
        if of == "pickle":
            with zipfile.ZipFile(file, "w") as opened:
                opened.writestr("archive/data.pkl", changed)
        else:
            file.write_bytes(changed)
        try:
            read = saved_args.read(file)
        except saved_args.SavedArgsError as problem:
            assert "common.pt" in str(problem) and len(str(problem)) < 5000
        else:
            assert isinstance(read.values, dict)
