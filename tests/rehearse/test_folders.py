"""What a rehearsal or a verification writes is in folders of its own; each setting that names a place is decided on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.rehearse import folders
from bridge_args.rehearse.folders import Instead
from bridge_args.training import variables
from bridge_args.training.processes import _environment
from bridge_args.verify.sides import Setup, words_for

ARGV = """torchrun --nproc-per-node 1 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4
    --seq-length 32 --max-position-embeddings 32 --micro-batch-size 2 --train-iters 2000 --lr 1e-3
    --eval-interval 1000 --eval-iters 1 --tokenizer-type NullTokenizer --vocab-size 100""".split()

# Words of a name that is a path, or the name of a place at somebody else's service.
A_PLACE = re.compile(
    r"(^|_)(path|paths|dir|dirs|file|files|filename|filepath|folder|root|save|load|logdir|uri|url|cache|cfg|tracker|"
    r"checkpoint|snapshot|blend|project|experiment|workspace|entity|run_name|exp_name|dump|output|features)(_|$)"
)
# They look like it, and are none.
NO_PLACE = {
    "checkpoint.async_write_results_mp_mode",
    "model.moe_router_load_balancing_type",
    "model.extra_checkpoint_metadata",
    "model.module_output_ndim",
    "peft.params_to_save",
    "experimental_attention_variant",
    "finetune_data_split",
    "finetune_hf_dataset",
    "app_tag_run_name",
    "one_logger_project",
}
TEXT = re.compile(r"\bstr\b|Path|\bAny\b")


def settings_like_paths() -> Iterator[tuple[str, str]]:
    for version in schemas.versions():
        schema = schemas.load(version)
        for section, about in schema.sections.items():
            for name in about.classes:
                for field in schema.classes[name].values():
                    texts = TEXT.search(field.type) and not field.choices and not field.type.startswith("Literal")
                    if texts and A_PLACE.search(field.name) and "Callable" not in field.type:
                        yield f"{section}.{field.name}", version


def arguments_like_paths() -> Iterator[tuple[str, str]]:
    for version in catalogs.versions():
        for argument in catalogs.load(version).arguments:
            texts = argument.action == "store" and not argument.choices and argument.type in (None, "str")
            if texts and A_PLACE.search(argument.dest):
                yield argument.dest, version


def test_every_setting_that_looks_like_a_path_is_decided_on() -> None:
    found = dict(settings_like_paths())
    known = folders.SETTINGS.keys() | folders.SETTINGS_READ | NO_PLACE
    assert len(found) > 50
    assert {name: version for name, version in found.items() if name not in known} == {}
    assert folders.SETTINGS.keys() & folders.SETTINGS_READ == set()


def test_every_argument_that_looks_like_a_path_is_decided_on() -> None:
    found = dict(arguments_like_paths())
    known = folders.ARGUMENTS.keys() | folders.ARGUMENTS_READ | NO_PLACE
    assert len(found) > 40
    assert {name: version for name, version in found.items() if name not in known} == {}
    assert folders.ARGUMENTS.keys() & folders.ARGUMENTS_READ == set()


def test_the_tables_name_only_what_there_is() -> None:
    settings = {
        f"{section}.{field}"
        for version in schemas.versions()
        for section, about in schemas.load(version).sections.items()
        for name in about.classes
        for field in schemas.load(version).classes[name]
    }
    arguments = {argument.dest for version in catalogs.versions() for argument in catalogs.load(version).arguments}
    assert (folders.SETTINGS.keys() | folders.SETTINGS_READ) - settings == set()
    assert (folders.ARGUMENTS.keys() | folders.ARGUMENTS_READ) - arguments == set()


@pytest.mark.parametrize("version", schemas.versions())
def test_nothing_that_is_written_stays_where_it_was(version: str, tmp_path: Path) -> None:
    """Every setting of the table, given a place, has another one inside the folder, or none."""
    schema = schemas.load(version)
    config: dict[str, dict[str, object]] = {}
    for path in folders.SETTINGS:
        section, _, name = path.partition(".")
        if any(name in schema.classes[one] for one in schema.sections.get(section, schema.sections["model"]).classes):
            config.setdefault(section, {})[name] = "/production/here"
    before = json.dumps(config)
    made = folders.own(config, tmp_path)
    assert "/production" not in json.dumps(made) and json.dumps(config) == before
    for section, values in made.items():
        for name, value in values.items():
            instead = folders.SETTINGS[f"{section}.{name}"]
            wanted = instead.value if isinstance(instead, Instead) else str(tmp_path / instead.leaf)
            assert value == wanted
    assert {one.path for one in folders.replaced(config)} == {
        f"{a}.{b}" for a, values in config.items() for b in values
    }


def test_where_no_place_is_named_only_what_would_be_written_anyway_gets_one(tmp_path: Path) -> None:
    t = bridge_args.translate([*ARGV, "--data-path", "somewhere"])
    run_config = bridge_args.to_run_config(t)
    made = folders.own(run_config, tmp_path)
    assert made["dataset"]["path_to_cache"] == str(tmp_path / "index")
    assert made["profiling"]["memory_snapshot_path"] == str(tmp_path / "snapshot.pickle")
    assert made["checkpoint"]["save"] is None and made["logger"]["tensorboard_dir"] is None
    assert folders.replaced(run_config) == ()


def test_a_command_line_of_a_verification_writes_inside_its_folder(tmp_path: Path) -> None:
    flags = {name: flag for name, flag in _flags().items() if name in folders.ARGUMENTS}
    named = [word for name, flag in flags.items() if name != "save" for word in (flag, "/production/x")]
    t = bridge_args.translate([*ARGV, "--mock-data", "--save", "/production/ck", "--load", "/production/ck", *named])
    for side in ("megatron_lm", "bridge"):
        words = words_for(side, Setup(t, "pretrain_gpt.py", 1, None, True, tmp_path))
        assert [word for word in words if word.startswith("/production")] == ["/production/ck"]  # read
        assert words[words.index("--load") + 1] == "/production/ck"
        assert words[words.index("--data-cache-path") + 1] == str(tmp_path / side / "index")


def _flags() -> dict[str, str]:
    arguments = catalogs.load("0.16.1").arguments
    return {one.dest: one.flags[0] for one in arguments if one.action == "store" and one.type in (None, "str")}


# Variables -----------------------------------------------------------------------------------------------------------

DANGEROUS = """
    LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT PATH BASH_ENV ENV HOME PYTHONPATH PYTHONSTARTUP PYTHONHOME
    PYTHONINSPECT PYTHONUSERBASE PYTHONWARNINGS GLIBC_TUNABLES GCONV_PATH MALLOC_PERTURB_ NCCL_NET_PLUGIN
    NCCL_TUNER_PLUGIN NCCL_PROFILER_PLUGIN NCCL_ENV_PLUGIN NCCL_GIN_PLUGIN NCCL_CONF_FILE NCCL_TOPO_FILE
    NCCL_DEBUG_FILE NCCL_TOPO_DUMP_FILE NCCL_GRAPH_FILE NCCL_GRAPH_DUMP_FILE NCCL_RAS_ADDR NCCL_COMM_ID
    NCCL_SOCKET_IFNAME NCCL_INSPECTOR_DUMP_DIR NCCL_TUNER_CONFIG_FILE NCCL_SOCKET_PORT_RANGE
    CUDA_INJECTION64_PATH CUDA_CACHE_PATH NVTX_INJECTION64_PATH NVTE_CUDA_INCLUDE_DIR NVTE_DEBUG_LOG_DIR
    TRITON_CACHE_DIR TRITON_CACHE_MANAGER TRITON_PTXAS_PATH TRITON_OVERRIDE_DIR TRITON_LIBCUDA_PATH
    TORCHINDUCTOR_CACHE_DIR TORCHINDUCTOR_COMPILE_THREADS TORCH_EXTENSIONS_DIR TORCH_LOGS TORCH_TRACE
    TORCH_NCCL_DEBUG_INFO_TEMP_FILE TORCH_NCCL_DEBUG_INFO_PIPE_FILE TORCH_NCCL_DUMP_ON_TIMEOUT
    TORCHELASTIC_ERROR_FILE OMP_TOOL_LIBRARIES OMP_DEBUG_OUTPUT KMP_HW_SUBSET NVSHMEM_BOOTSTRAP_PLUGIN
    UCX_MODULE_DIR CC CXX NVCC_PREPEND_FLAGS HF_HOME HF_TOKEN WANDB_API_KEY WANDB_DIR http_proxy SSL_CERT_FILE
    LOCPATH TMPDIR CUBLAS_LOGDEST_DBG CUDNN_LOGDEST_DBG KINETO_CONFIG MY_TEAM_SETTING
""".split()


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_loads_or_writes_is_not_passed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    before = _environment({}, emulate=True)
    assert _environment({name: "given"}, emulate=True) == before
    assert variables.kept_away({name: "given"}) == (name,)
    assert name in variables.said([name])


@pytest.mark.parametrize(
    "name",
    ["NCCL_ALGO", "NCCL_IB_SL", "NCCL_DEBUG", "NVTE_FUSED_ATTN", "NVTE_APPLY_QK_LAYER_SCALING", "OMP_NUM_THREADS"]
    + ["CUDA_DEVICE_MAX_CONNECTIONS", "TORCH_NCCL_AVOID_RECORD_STREAMS", "CUBLAS_WORKSPACE_CONFIG", "UB_SKIPMC"]
    + ["PYTORCH_CUDA_ALLOC_CONF", "NCCL_GRAPH_REGISTER", "NCCL_NVLS_ENABLE", "NVTE_FWD_LAYERNORM_SM_MARGIN"],
)
def test_what_changes_how_a_run_computes_is_passed_on(name: str) -> None:
    assert _environment({name: "given"}, emulate=True)[name] == "given"
    assert variables.kept_away({name: "given"}) == ()
    assert variables.passed_on({name: "/some/library.so"}) == {}


def test_what_a_launcher_says_is_not_worth_a_word() -> None:
    assert variables.kept_away({"RANK": "3", "MASTER_ADDR": "x", "LD_PRELOAD": "y"}) == ("LD_PRELOAD",)
    assert variables.said(()) == ""


def test_libraries_write_to_the_folder_of_the_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRITON_CACHE_DIR", "NCCL_DEBUG_FILE", "TORCH_TRACE"):
        monkeypatch.setenv(name, "/production/x")
    env = _environment({}, True, tmp_path)
    assert "/production/x" not in env.values() and env["TRITON_CACHE_DIR"].startswith(str(tmp_path))
    assert _environment({}, True)["TRITON_CACHE_DIR"] == "/production/x"


# The real loop -------------------------------------------------------------------------------------------------------


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file: content, times, permissions, the names there are."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, content
        )  # fmt: skip
    return found


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """A folder that a run goes on in: logs, data; its checkpoints are made by the test."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("megatron.bridge") is None:
        pytest.skip("needs Bridge")
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "events.out").write_text("old")
    text(tmp_path / "data" / "text")
    return tmp_path


def text(prefix: Path, documents: int = 200, length: int = 50) -> None:
    """Data as Megatron Core reads it (megatron/core/datasets/indexed_dataset.py): 32-bit tokens, and where they are."""
    prefix.parent.mkdir()
    tokens = [(7 * index) % 100 for index in range(documents * length)]
    Path(f"{prefix}.bin").write_bytes(struct.pack(f"<{len(tokens)}i", *tokens))
    lengths, starts = [length] * documents, [4 * length * index for index in range(documents)]
    Path(f"{prefix}.idx").write_bytes(
        b"MMIDIDX\x00\x00"
        + struct.pack("<QBQQ", 1, 4, documents, documents + 1)
        + struct.pack(f"<{documents}i{documents}q{documents + 1}q", *lengths, *starts, *range(documents + 1))
    )


def rehearsed(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.sh").write_text(script)
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    before = state_of(folder)
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "rehearse", "train.sh", "--device", "cpu", *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    if "--real-folders" not in words:
        assert state_of(folder) == before
    return done


WRITES = (
    " --save ck --load ck --save-interval 1 --tensorboard-dir tb --data-path data/text --split 98,1,1"
    " --non-persistent-save-interval 1 --non-persistent-ckpt-type global --non-persistent-global-ckpt-dir np"
    " --wandb-project team --wandb-exp-name run --wandb-save-dir wandb"
)


def test_a_rehearsal_leaves_the_folders_of_the_run_as_they_are(
    production: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """First a run with its real folders; then a rehearsal that goes on from its checkpoint, and that keeps what it
    writes. Its index of the data would lie beside the data, since no folder is named for that."""
    script = " ".join(ARGV) + WRITES + "\n"
    done = rehearsed(
        production, script.replace("--load ck", "").partition(" --wandb")[0], "--steps", "1", "--real-folders"
    )
    tracker = production / "ck" / "latest_checkpointed_iteration.txt"
    assert tracker.read_text().strip() == "1" and "where the command line says" in done.stderr
    assert list((production / "data").rglob("*description*"))
    shutil.rmtree(production / "data" / "text")

    kept = tmp_path_factory.mktemp("kept") / "new"
    done = rehearsed(production, script, "--steps", "1", "--workdir", str(kept))
    for place in (
        "ck (checkpoint.save)",
        "tb (logger.tensorboard_dir)",
        "np (checkpoint.non_persistent_global_ckpt_dir)",
    ):
        assert place in done.stderr
    assert "step     2" in done.stdout and str(kept) in done.stderr
    assert (kept / "checkpoints" / tracker.name).read_text().strip() == "2"
    assert {"checkpoints", "index", "tensorboard"} <= {path.name for path in kept.iterdir()}


@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="needs a compiler")
def test_a_library_that_a_script_preloads_is_not_loaded(production: Path) -> None:
    source = production / "pre.c"
    source.write_text(
        '#include <stdio.h>\n__attribute__((constructor)) void f(){FILE*o=fopen("LOADED","a");if(o)fclose(o);}\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "pre.so", "pre.c"], cwd=production, check=True, timeout=120)
    for name in ("json", "queue", "torch"):
        (production / f"{name}.py").write_text("open('LOADED', 'w').close()\n")
    exports = f"export LD_PRELOAD={production}/pre.so NCCL_ALGO=Ring\n"
    done = rehearsed(
        production, exports + " ".join(ARGV) + " --mock-data\n", "--shrink", "--steps", "1", "--nproc", "2"
    )
    assert "LD_PRELOAD" in done.stderr and "NCCL_ALGO" not in done.stderr
    assert not (production / "LOADED").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_ranks_of_a_rehearsal_end_with_it(production: Path, number: signal.Signals) -> None:
    (production / "train.sh").write_text(" ".join(ARGV) + " --mock-data\n")
    mark = f"MARK_OF_TEST={production}".encode()

    def marked() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    root, log = str(Path(__file__).resolve().parents[2]), production / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge_args", "rehearse", "train.sh", "--device", "cpu", "--shrink", "--nproc", "2"]
            + ["--steps", "2000"],
            cwd=production,
            env={**os.environ, "PYTHONPATH": root, "MARK_OF_TEST": str(production)},
            stdout=stream,
            stderr=subprocess.DEVNULL,
        )
    try:
        end = time.monotonic() + 400
        while "step" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        assert len(marked()) >= 4  # this program, torchrun, two ranks
        process.send_signal(number)
        process.wait(120)
        end = time.monotonic() + 60
        while marked() and time.monotonic() < end:
            time.sleep(0.1)
        assert marked() == []
    finally:
        process.kill()
        for one in marked():
            os.kill(one, signal.SIGKILL)
