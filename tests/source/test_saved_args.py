"""Arguments in a checkpoint: read without torch and without running anything, and translated as their command line is.

The files are made here with ``pickle`` in the form ``torch.save`` gives them; with torch installed, by ``torch.save``.
"""

from __future__ import annotations

import argparse
import collections
import enum
import json
import os
import pickle
import pickletools
import signal
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import command_lines
from saved_checkpoints import SMALL, Dtype, content_of, distributed, effective, of_core_019, pickled, zipped

import bridge_args
from bridge_args.checkpoint import saved_args
from bridge_args.checkpoint.layout import MEGATRON_TRACKER
from bridge_args.checkpoint.saved_args import SavedArgsError
from bridge_args.checkpoint.unpickle import Refused, load
from bridge_args.cli.main import main
from bridge_args.steps import translate_saved
from bridge_args.values import Symbol

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def classes() -> Iterator[types.SimpleNamespace]:
    """Stand-ins for classes of torch and Megatron-LM, under the names that checkpoints hold."""

    class AttnBackend(enum.Enum):
        flash, fused, unfused, local, auto = 1, 2, 3, 4, 5

    class Layout:
        def __init__(self) -> None:
            self.input_data = "E|tt|L"

    AttnBackend.__module__, AttnBackend.__qualname__ = "megatron.core.transformer.enums", "AttnBackend"
    Layout.__module__, Layout.__qualname__ = "megatron.core.transformer.pipeline_parallel_layer_layout", "Layout"
    made, before = {}, dict(sys.modules)
    for kind in (AttnBackend, Layout):
        parts = kind.__module__.split(".")
        for end in range(1, len(parts) + 1):
            made.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        setattr(made[kind.__module__], kind.__name__, kind)
    sys.modules.update(made)
    yield types.SimpleNamespace(AttnBackend=AttnBackend, Layout=Layout)
    for name in made:
        del sys.modules[name]
        if name in before:
            sys.modules[name] = before[name]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "ckpt"
    zipped(pickled(content_of(effective())), folder / "iter_0000005" / "common.pt")
    (folder / MEGATRON_TRACKER).write_text("5")
    return folder


# Reading ------------------------------------------------------------------------------------------------------------


def test_a_torch_dist_checkpoint(checkpoint: Path) -> None:
    for path in (checkpoint, checkpoint / "iter_0000005", checkpoint / "iter_0000005" / "common.pt"):
        saved = saved_args.read(path)
        assert saved.values == effective()
        assert (saved.iteration, saved.format, saved.checkpoint_version) == (5, "torch_dist", 3.0)
        assert saved.file == checkpoint / "iter_0000005" / "common.pt"


@pytest.mark.parametrize("rank", ["mp_rank_00", "mp_rank_00_000", "mp_rank_00_000_000"])
@pytest.mark.parametrize("said", ["release", "5\n"])
def test_a_legacy_checkpoint(rank: str, said: str, tmp_path: Path) -> None:
    iteration = "release" if said == "release" else "iter_0000005"
    zipped(pickled(content_of(effective())), tmp_path / iteration / rank / "model_optim_rng.pt", "model_optim_rng")
    (tmp_path / MEGATRON_TRACKER).write_text(said)
    saved = saved_args.read(tmp_path)
    assert saved.format == "legacy"
    assert saved.values == effective()


def test_the_form_before_torch_1_6(tmp_path: Path) -> None:
    file = tmp_path / "iter_0000005" / "mp_rank_00" / "model_optim_rng.pt"
    file.parent.mkdir(parents=True)
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content_of(effective())]
    file.write_bytes(b"".join(map(pickled, parts)) + pickled(["0"]) + b"\0" * 64)
    assert saved_args.read(tmp_path / "iter_0000005").values == effective()


def test_objects_of_megatron_lm(classes: types.SimpleNamespace, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "num_layers": 2,
        "attention_backend": classes.AttnBackend.flash,
        "scopes": [classes.AttnBackend.auto],
        "exit_signal": signal.SIGTERM,
        "layout": classes.Layout(),
        "params_dtype": Dtype("bfloat16"),
        "window_size": (1, 0),
        "seen": {3},
        "more": collections.OrderedDict(a=1),
        "where": Path("/data/x"),
        "nested": types.SimpleNamespace(a=argparse.Namespace(b=2)),
    }
    file = zipped(pickled({"args": argparse.Namespace(**values), "iteration": 1}), tmp_path / "common.pt")
    read = saved_args.read(file).values
    assert read.pop("layout").type.endswith("Layout")
    assert read == {
        "num_layers": 2,
        "attention_backend": "flash",
        "scopes": ["auto"],
        "exit_signal": "SIGTERM",
        "params_dtype": Symbol("torch.bfloat16"),
        "window_size": (1, 0),
        "seen": [3],
        "more": {"a": 1},
        "where": "/data/x",
        "nested": {"a": {"b": 2}},
    }


def by_value(module: str, name: str, value: int) -> bytes:
    """A member of an enum as Python 3.10 and 3.12 pickle it: the class, called with the value."""
    return pickle.PROTO + b"\x02" + f"c{module}\n{name}\nK".encode() + bytes([value]) + b"\x85R."


def test_members_by_value(tmp_path: Path) -> None:
    for module, name, value, expected in [
        ("megatron.core.transformer.enums", "AttnBackend", 3, "unfused"),
        ("megatron.core.transformer.enums", "CudaGraphScope", 2, "attn"),
        ("signal", "Signals", 15, "SIGTERM"),
    ]:
        inner = by_value(module, name, value)[2:-1]
        data = b"\x80\x02}(X\x04\x00\x00\x00argscargparse\nNamespace\n)\x81}X\x01\x00\x00\x00a" + inner + b"sbu."
        assert saved_args.read(zipped(data, tmp_path / "common.pt")).values == {"a": expected}


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("zip_form", [True, False])
def test_what_torch_saves(zip_form: bool, tmp_path: Path) -> None:
    import torch

    content: dict[str, Any] = {
        "args": argparse.Namespace(params_dtype=torch.bfloat16, exit_signal=signal.SIGTERM, num_layers=2),
        "iteration": 7,
        "model": collections.OrderedDict(weight=torch.ones(3), p=torch.nn.Parameter(torch.ones(2))),
        "rng_state": [
            {"torch_rng_state": torch.get_rng_state(), "device": torch.device("cpu"), "size": torch.Size([2])}
        ],
    }
    torch.save(content, tmp_path / "common.pt", _use_new_zipfile_serialization=zip_form)
    saved = saved_args.read(tmp_path)
    assert saved.values == {"params_dtype": Symbol("torch.bfloat16"), "exit_signal": "SIGTERM", "num_layers": 2}
    assert saved.iteration == 7


def test_no_torch_is_imported(checkpoint: Path) -> None:
    program = (
        "import sys; from bridge_args.checkpoint import saved_args; saved_args.read(sys.argv[1]);"
        "print(*(m for m in ('torch', 'numpy', 'megatron') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(checkpoint)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# Hostile and broken files ---------------------------------------------------------------------------------------------


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls a function when it is loaded the usual way."""
    said = argument.encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + len(said).to_bytes(4, "little") + said + b"\x85R."


HOSTILE = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "open"),
    ("builtins", "__import__"),
    ("__builtin__", "eval"),
    ("subprocess", "Popen"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.serialization", "load"),
    ("numpy", "load"),
    ("collections", "OrderedDict.__init__.__globals__"),
    ("argparse", "_sys.modules"),
    ("megatron.core", "os.system"),
    ("megatron.core.os", "system.x"),
    ("megatron_evil", "run"),
    ("operator", "attrgetter"),
    ("pickle", "loads"),
    ("code", "interact"),
]


@pytest.mark.parametrize(("module", "name"), HOSTILE)
def test_a_hostile_file_is_refused_by_name(
    module: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "marker"
    zipped(calling(module, name, f"touch {marker}"), tmp_path / "ckpt" / "common.pt")
    with pytest.raises(SavedArgsError) as refusal:
        saved_args.read(tmp_path / "ckpt")
    shown = module.replace("__builtin__", "builtins")
    assert f"it asks for {shown}.{name}, which no checkpoint of Megatron-LM needs; nothing was run" in str(
        refusal.value
    )
    assert not marker.exists()
    assert main(["translate", str(tmp_path / "ckpt")]) == 1
    assert f"{shown}.{name}" in capsys.readouterr().err
    assert not marker.exists()


def test_a_hostile_name_by_stack_and_inside_the_namespace(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"args": argparse.Namespace(lr=Evil())}, protocol)
        with pytest.raises(SavedArgsError, match=r"it asks for (posix|nt)\.system"):
            saved_args.read(zipped(data, tmp_path / "common.pt"))
    assert not (tmp_path / "marker").exists()


def test_names_that_are_allowed_stand_for_nothing_real(tmp_path: Path) -> None:
    """A method of Megatron-LM that would do harm is a stand-in that keeps its words."""
    marker = tmp_path / "marker"
    file = zipped(calling("megatron.core.utils", "run", f"touch {marker}"), tmp_path / "common.pt")
    thing = load(file)
    assert (thing.path, thing.arguments) == ("megatron.core.utils.run", (f"touch {marker}",))
    assert not marker.exists()
    file = zipped(
        b"\x80\x02cbuiltins\ngetattr\ncargparse\nNamespace\nX\x08\x00\x00\x00__init__\x86R.", tmp_path / "common.pt"
    )
    assert load(file).path == "builtins.getattr"


def test_what_one_file_does_to_a_class_no_other_sees(tmp_path: Path) -> None:
    # BUILD on the class itself, instead of on an instance
    spoil = b"\x80\x02cargparse\nNamespace\nN}X\x04\x00\x00\x00pathX\x04\x00\x00\x00evils\x86b."
    try:
        load(zipped(spoil, tmp_path / "spoil.pt"))
    except Refused:
        pass
    file = zipped(pickled(content_of(effective())), tmp_path / "common.pt")
    assert saved_args.read(file).values == effective()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a file of torch.save"),
        (b"hello", "is not a file of torch.save"),
        (b"PK\x03\x04 and no more", "is not a file of torch.save"),
        (b"\x80\x02" + b"(" * 50, "is not a file of torch.save"),
        (b"\x80\x02K\x01K\x02s.", ""),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", ""),
    ],
)
def test_broken_files(content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "common.pt").write_bytes(content)
    with pytest.raises(SavedArgsError) as problem:
        saved_args.read(tmp_path)
    assert said in str(problem.value)
    zipped(content, tmp_path / "common.pt")
    with pytest.raises(SavedArgsError):
        saved_args.read(tmp_path)
    assert main(["checkpoint", "inspect", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_file_never_ends_in_anything_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(pickled(content_of({"lr": 0.1, "params_dtype": Symbol("torch.float32"), "a": [1, (2, "x")]})))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = zipped(bytes(whole), tmp_path_factory.getbasetemp() / "damaged" / "common.pt")
    try:
        saved_args.read(file)
    except SavedArgsError:
        pass


def test_archives_that_are_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "common.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SavedArgsError, match="an archive with 0 data.pkl"):
        saved_args.read(tmp_path)
    with zipfile.ZipFile(tmp_path / "common.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled({}))
        archive.writestr("b/data.pkl", pickled({}))
    with pytest.raises(SavedArgsError, match="an archive with 2 data.pkl"):
        saved_args.read(tmp_path)
    with zipfile.ZipFile(tmp_path / "common.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * (300 << 20))
    with pytest.raises(SavedArgsError, match="314572800 bytes; that is no list of arguments"):
        saved_args.read(tmp_path)


def test_arguments_among_the_tensors(tmp_path: Path) -> None:
    """Where Megatron-LM 0.19 and later put them; they are bounded and looked at as those of a file of their own."""
    folder = of_core_019(tmp_path / "iter_0000005", effective())
    (tmp_path / MEGATRON_TRACKER).write_text("5")
    alone = zipped(pickled(content_of(effective())), tmp_path / "alone" / "common.pt")
    for path in (tmp_path, folder):
        found = saved_args.read(path)
        assert found.values == saved_args.read(alone).values and found.values["hidden_size"] == 64
        assert (found.iteration, found.format, found.file.name) == (5, "torch_dist", "__0_0.distcp")
    with (folder / "__0_0.distcp").open("r+b") as file:
        file.truncate(2100)
    with pytest.raises(SavedArgsError, match="__0_0.distcp: it ends within the part of"):
        saved_args.read(folder)
    distributed(folder, common=b"no archive")
    with pytest.raises(SavedArgsError, match="is not a file with a part that torch.save has written"):
        saved_args.read(folder)
    distributed(folder)
    with pytest.raises(SavedArgsError, match="is no checkpoint of Megatron-LM: it has no"):
        saved_args.read(folder)


def test_folders_that_are_no_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(SavedArgsError, match="does not exist"):
        saved_args.read(tmp_path / "nowhere")
    with pytest.raises(SavedArgsError, match="it has no latest_checkpointed_iteration.txt, common.pt or mp_rank_00"):
        saved_args.read(tmp_path)
    assert not saved_args.is_checkpoint(tmp_path)
    assert saved_args.is_checkpoint(checkpoint)
    (checkpoint / MEGATRON_TRACKER).write_text("6")
    with pytest.raises(SavedArgsError, match="names iter_0000006, which has no common.pt"):
        saved_args.read(checkpoint)
    (checkpoint / MEGATRON_TRACKER).write_text("../../etc")
    with pytest.raises(SavedArgsError, match='names no iteration: "../../etc"'):
        saved_args.read(checkpoint)
    zipped(pickled({"model": {}, "optimizer": 1}), tmp_path / "common.pt")
    with pytest.raises(SavedArgsError, match="holds no arguments of Megatron-LM; it holds model, optimizer"):
        saved_args.read(tmp_path)


# Translating ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        "",
        "--tensor-model-parallel-size 2 --sequence-parallel",
        "--num-experts 4 --moe-router-topk 2 --expert-model-parallel-size 2 --moe-aux-loss-coeff 0.01",
        "--recompute-activations --no-rope-fusion --position-embedding-type rope --weight-decay 0",
        "--train-samples 400 --lr-decay-samples 300",
        "--moe-layer-freq ([0]+[1]) --num-experts 2 --window-size 16,0",
    ],
    ids=["small", "parallel", "experts", "recompute", "samples", "patterns"],
)
def test_a_saved_run_translates_as_its_command_line(more: str, tmp_path: Path) -> None:
    words = [*SMALL, *more.split()]
    if "--train-samples" in words:
        at = words.index("--train-iters")
        del words[at : at + 2]
    typed = bridge_args.translate(words, world_size=2, env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"})
    assert typed.errors == ()
    values = {name: typed.args[name] for name in typed.args} | {"world_size": 2}
    saved = translate_saved(saved_args.read(zipped(pickled(content_of(values)), tmp_path / "common.pt")).values)
    assert bridge_args.to_run_config(saved) == bridge_args.to_run_config(typed)
    assert saved.errors == ()
    assert saved.versions.megatron == typed.versions.megatron
    again = bridge_args.translate(saved.words, world_size=2, env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"})
    assert again.errors == ()
    assert bridge_args.to_run_config(again) == bridge_args.to_run_config(typed)


def test_a_real_runs_values_count_and_not_what_we_would_derive() -> None:
    saved = translate_saved({**effective(), "ffn_hidden_size": 999})
    assert bridge_args.to_run_config(saved)["model"]["ffn_hidden_size"] == 999


def test_a_run_of_a_hybrid_model_has_its_program_and_its_pattern() -> None:
    found = {}
    for version, spec in (("0.17.1", ["mamba", "stack"]), ("0.19.0", None)):
        row = next(
            row
            for row in command_lines(version)
            if row["result"].get("args", {}).get("hybrid_layer_pattern") and "tp1_pp1" in row["id"]
        )
        values = {name: _recorded(value) for name, value in row["result"]["args"].items()}
        t = translate_saved({**values, "spec": spec}, version, "0.6.2")
        assert [a.value for a in t.assignments if a.path == "model.hybrid_layer_pattern"] == [
            values["hybrid_layer_pattern"]
        ]
        found[version] = t.program
    assert found == {"0.17.1": "pretrain_mamba.py", "0.19.0": "pretrain_hybrid.py"}


def test_recorded_namespaces_translate_as_their_command_lines() -> None:
    differing = []
    for row in [row for row in command_lines() if row["result"]["accepted"]]:
        case, result = row["case"], row["result"]
        typed = bridge_args.translate(
            case["argv"], world_size=case["world_size"], megatron_lm="0.16.1", env=case["env"], program=case["entry"]
        )
        values = {name: _recorded(value) for name, value in {**result["args"], **result["args_after_setup"]}.items()}
        saved = translate_saved(values)
        if bridge_args.to_run_config(saved) != bridge_args.to_run_config(typed):
            differing.append(row["id"])
    assert differing == []


def _recorded(value: Any) -> Any:
    if isinstance(value, dict) and "$float" in value:
        return float(value["$float"])
    return Symbol(value) if isinstance(value, str) and value.startswith("torch.") else value


def test_the_command_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(checkpoint)]) == 0
    out, err = capsys.readouterr()
    assert "num_layers: 2  # --num-layers 2" in out
    assert "note: Megatron-LM 0.16.1 is assumed: " in err
    assert main(["checkpoint", "inspect", str(checkpoint)]) == 1, "it has no tensors"
    out, _ = capsys.readouterr()
    assert "iteration: 5\n" in out
    assert "  --num-layers 2 \\\n" in out
    assert main(["checkpoint", "inspect", "--format", "json", str(checkpoint)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["args"]["params_dtype"] == "torch.bfloat16"
    assert told["consumed_train_samples"] == 40
    assert told["argv"][:3] == ["--bf16", "--num-layers", "2"]


def test_the_files_made_here_are_what_torch_makes(tmp_path: Path) -> None:
    """The opcodes are those of protocol 2, and a dtype is one global."""
    names = [arg for op, arg, _ in pickletools.genops(pickled({"a": Dtype("bfloat16")})) if op.name == "GLOBAL"]
    assert names == ["torch bfloat16"]
