"""Run in a process of its own (``sandbox.py``): a checkout's program says what its parser and ``validate_args`` make.

The words are ``PACKAGE_FOLDER PROGRAM REQUEST ANSWERS``: REQUEST is a JSON file, ``{"catalog": bool, "timeout":
seconds, "container": bool, "cases": [{"argv", "world_size", "env", "capability", "saved"}, ...]}``. ANSWERS receives
one JSON line for the catalog, if it is wanted, and one for each case, in order; with its container, if that is wanted.
Everything that the checkout prints goes to standard error.

The checkout is imported once; the catalog and every case then run in a fork of their own, so that none sees what
another left behind. There is no GPU and no network: CUDA's questions are answered as by an H100 with Transformer
Engine 2.10, or what newer one the checkout's ``uv.lock`` names, and a connection is refused.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import re
import runpy
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

# What a launcher sets; a process started from inside a run must not inherit it.
LAUNCHER: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
# Decide what validation says, so the user's run has to say them, not the machine this runs on.
DECIDING: Final = ("CUDA_DEVICE_MAX_CONNECTIONS", "NCCL_", "NVTE_", "PYTORCH_CUDA_ALLOC_CONF")
GPUS_PER_NODE: Final = 8

# Packages that programs import on their way to the parser, that cannot be had on every machine.
_STAND_INS: Final = {"triton": "0", "transformer_engine": "2.10.0"}
_LOCKED: Final = re.compile(r'^name = "transformer-engine"\nversion = "(\d+)\.(\d+)\.(\d+)', re.MULTILINE)
# Takes long to import, and not every version goes with every checkout's; the flags are the checkout's own.
_NEVER_IMPORTED: Final = ("modelopt",)
# Adds no flag, and from 0.17 on Megatron-LM stops at the version that is published.
_HIDDEN: Final = ("nvidia_resiliency_ext",)
# What asks whether it is there, when the container is built: the run has it.
_HIDDEN_SUPPORT: Final = (("megatron.training.utils", "has_nvrx_checkpointing_async_support"),)

# What the program decides behind ``validate_args``, in its own order: functions of ``args`` and what they are called in
# an answer. Each is passed over where a version has it not.
_LATER: Final = (
    ("transformer_config", "megatron.training.arguments", "core_transformer_config_from_args"),
    ("optimizer", "megatron.training.training", "get_megatron_optimizer_config"),
)

# The configuration container that Megatron-LM has since 0.18, and what makes the model's part of it, by program; 0.18
# has none for GPT.
_CONTAINER: Final = ("megatron.training.argument_utils", "pretrain_cfg_container_from_args")
_MODELS: Final = {
    "pretrain_gpt.py": "gpt_config_from_args",
    "pretrain_hybrid.py": "hybrid_config_from_args",
    "pretrain_mamba.py": "hybrid_config_from_args",
}

_OUTCOME: dict[str, Any] = {}
_CAPABILITY: Final = [9, 0]  # an H100, where a case does not say otherwise


class _Arguments(BaseException):
    """Carries the validated arguments out of the program."""


def main(words: list[str]) -> None:
    """See the module's text."""
    package, program, request_file, answers_file = words
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    with open(answers_file, "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _prepare(program, package)
        problem = _warm_up(program)
        jobs: list[Callable[[], dict[str, Any]]] = []
        if request["catalog"]:
            jobs.append(lambda: _catalog(program))
        for case in request["cases"]:
            jobs.append(lambda case=case: _effective(program, case, request["container"]))  # type: ignore[misc]
        for job in jobs:
            answer = problem or _in_a_fork(job, request["timeout"])
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


# The process ------------------------------------------------------------------------------------------------------


def _prepare(program: str, package: str) -> None:
    sys.path.insert(0, str(Path(program).parent))
    sys.path.append(package)
    for name in list(os.environ):
        if name in LAUNCHER or name.startswith(DECIDING):
            del os.environ[name]
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    sys.addaudithook(_no_network)
    for name in _HIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]
    from bridge_args.checkout.placeholders import stand_in
    from bridge_args.newer_python import add_what_is_missing

    add_what_is_missing()

    # A program that has no use for torch need not wait for it.
    if "torch" in Path(program).read_text(encoding="utf-8") and importlib.util.find_spec("torch") is not None:
        import torch
        import torch._inductor.runtime.triton_heuristics  # makes up its mind about triton before the placeholder

        _pretend_a_gpu(torch)
    stand_in({**_STAND_INS, "transformer_engine": _transformer_engine(Path(program).parent)})
    stand_in(_NEVER_IMPORTED, always=True)


def _transformer_engine(checkout: Path) -> str:
    """The version that the checkout is developed with, and none before the oldest that anybody asks for."""
    lock = checkout / "uv.lock"
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    named = [tuple(map(int, found)) for found in _LOCKED.findall(text)]
    oldest = tuple(map(int, _STAND_INS["transformer_engine"].split(".")))
    return ".".join(map(str, max([oldest, *named])))


def _no_network(event: str, details: tuple[Any, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname") or (
        event == "socket.connect" and isinstance(details[1], tuple)
    ):
        raise OSError("the checkout is asked without a network")


def _pretend_a_gpu(torch: Any) -> None:
    def properties(device: Any = None) -> Any:
        major, minor = _CAPABILITY
        return argparse.Namespace(
            name="NVIDIA H100", major=major, minor=minor, total_memory=80 << 30, multi_processor_count=132
        )

    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: GPUS_PER_NODE
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_capability = lambda device=None: tuple(_CAPABILITY)
    torch.cuda.get_device_name = lambda device=None: properties().name
    torch.cuda.get_device_properties = properties
    torch.cuda.set_device = lambda device: None


def _warm_up(program: str) -> dict[str, Any] | None:
    """Imports what the program imports, and puts our hooks in place; what went wrong, if it did."""
    from bridge_args.checkout.describe import remember_fields

    sys.argv = [program]
    remember_fields()
    try:
        runpy.run_path(program, run_name="bridge_args_warm_up")
        arguments = importlib.import_module("megatron.training.arguments")
        _replace(arguments.validate_args, _stops_behind(arguments.validate_args))
        yaml_arguments = _module("megatron.training.yaml_arguments")
        if yaml_arguments is not None and hasattr(yaml_arguments, "validate_yaml"):
            _replace(yaml_arguments.validate_yaml, _stops_behind(yaml_arguments.validate_yaml))
        restart = _module("megatron.training.inprocess_restart")
        if restart is not None and hasattr(restart, "maybe_wrap_for_inprocess_restart"):
            # Needs a package; wraps the training loop and changes no argument.
            _replace(restart.maybe_wrap_for_inprocess_restart, lambda pretrain: (pretrain, None))
    except BaseException as error:  # whatever a program does when it is imported
        return {"stage": "import", "error": _told(error)}
    return None


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _replace(original: Any, instead: Any) -> None:
    """In every module that has taken it by ``from ... import``."""
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if hasattr(module, "__dict__") else ():
            if value is original:
                setattr(module, name, instead)


def _stops_behind(validate: Callable[..., Any]) -> Callable[..., Any]:
    def validated(args: Any, *more: Any, **named: Any) -> Any:
        _OUTCOME["parsed"] = dict(vars(args))
        _OUTCOME["stage"] = "validate"
        result = validate(args, *more, **named)
        _OUTCOME["args"] = args if result is None else result
        raise _Arguments

    return validated


def _in_a_fork(job: Callable[[], dict[str, Any]], timeout: float) -> dict[str, Any]:
    """The answer of a job that runs in a copy of this process; it is ended when it takes too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as stream:
                stream.write(json.dumps(job()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    parts, deadline = [], time.monotonic() + timeout
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return {"stage": "timeout", "error": {"type": "TimeoutError", "message": f"no answer in {timeout:g} s"}}
            part = pipe.read(1 << 16)
            if not part:
                break
            parts.append(part)
    _, status = os.waitpid(child, 0)
    if not parts:
        message = f"the process ended with status {os.waitstatus_to_exitcode(status)}"
        return {"stage": "crash", "error": {"type": "RuntimeError", "message": message}}
    answer: dict[str, Any] = json.loads(b"".join(parts))
    return answer


# Questions --------------------------------------------------------------------------------------------------------


def _catalog(program: str) -> dict[str, Any]:
    """The arguments of the program's parser, as ``describe.described`` has them."""
    from bridge_args.checkout.describe import ParserFound, described, stop_at_parse_args

    stop_at_parse_args()
    sys.argv = [program]
    try:
        runpy.run_path(program, run_name="__main__")
    except ParserFound as found:
        return described(found.parser, found.program_defaults, written)
    except BaseException as error:
        return {"stage": "parser", "error": _told(error)}
    return {"stage": "parser", "error": {"type": "RuntimeError", "message": "it ended without parsing a command line"}}


def _checkpoints_are(saved: Mapping[str, Any]) -> None:
    """What ``load_args_from_checkpoint`` finds in a folder; no file is read."""
    module = _module("megatron.training.checkpointing")
    if module is None or not hasattr(module, "_load_base_checkpoint"):
        return

    def load(folder: str, *more: Any, **named: Any) -> Any:
        if folder not in saved:
            return None, "", False, None
        found = saved[folder]
        return {**found, "args": argparse.Namespace(**found["args"]), "iteration": 0}, folder, False, None

    module._load_base_checkpoint = load


def _effective(program: str, case: Mapping[str, Any], container: bool) -> dict[str, Any]:
    """What the program makes of one command line: ``{"parsed", "args"}``, or with ``stage`` and ``error``.

    With ``container`` also that, which is None where this Megatron-LM has no such thing.
    """
    ranks = case["world_size"]
    _CAPABILITY[:] = case["capability"]
    os.environ |= {**case["env"], "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(ranks)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(min(ranks, GPUS_PER_NODE)), "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _checkpoints_are(case.get("saved") or {})
    sys.argv = [program, *case["argv"]]
    _OUTCOME.clear()
    _OUTCOME["stage"] = "parse"
    answer: dict[str, Any] = {}
    said = _last_words(argparse.ArgumentParser)
    try:
        runpy.run_path(program, run_name="__main__")
        answer["error"] = {"type": "RuntimeError", "message": "it ended without validating a command line"}
    except _Arguments:
        _later(_OUTCOME["args"], answer)
        answer["args"] = {name: written(value) for name, value in vars(_OUTCOME["args"]).items()}
        if container and "error" not in answer:
            _add_container(program, _OUTCOME["args"], answer)
    except SystemExit as end:
        answer["error"] = {"type": "SystemExit", "message": said[-1] if said else f"it ends with status {end.code}"}
    except BaseException as error:
        answer["error"] = _told(error)
    if "error" in answer:
        answer.setdefault("stage", _OUTCOME["stage"])
    if "parsed" in _OUTCOME:
        answer["parsed"] = {name: written(value) for name, value in _OUTCOME["parsed"].items()}
    return answer


def _last_words(parser: Any) -> list[str]:
    """Keeps what argparse says before it ends the process."""
    said: list[str] = []
    original = parser.error

    def error(self: argparse.ArgumentParser, message: str) -> Any:
        said.append(message)
        return original(self, message)

    parser.error = error
    return said


def _later(args: Any, answer: dict[str, Any]) -> None:
    """What is refused behind ``validate_args``. Only refusals count: what else fails does so for want of a GPU."""
    before = dict(vars(args))
    for stage, module, name in _LATER:
        function = getattr(_module(module), name, None)
        if function is None:
            continue
        try:
            function(args)
        except (AssertionError, ValueError, NotImplementedError) as error:
            answer.update(stage=stage, error=_told(error))
            break
        except BaseException:
            traceback.print_exc()
    vars(args).clear()
    vars(args).update(before)


def _add_container(program: str, args: Any, answer: dict[str, Any]) -> None:
    """The fields of the container that the program trains with, as ``fields.fields_of`` has them."""
    from bridge_args.checkout.fields import UNKNOWN, fields_of

    module = _module(_CONTAINER[0])
    build = getattr(module, _CONTAINER[1], None)
    answer["container"] = None
    if build is None:
        return
    model_of = getattr(module, _MODELS[Path(program).name], None)
    for place, name in _HIDDEN_SUPPORT:
        if (asks := getattr(_module(place), name, None)) is not None:
            _replace(asks, lambda: True)
    try:
        unknown = _set_vocabulary(args)
        fields = fields_of(build(args, model_of(args)) if model_of is not None else build(args))
    except Exception as error:
        answer.update(stage="container", error=_told(error))
        return
    answer["container"] = {**fields, **{path: {UNKNOWN: unknown} for path in _VOCABULARY if unknown and path in fields}}


_VOCABULARY: Final = ("model.vocab_size", "tokenizer.padded_vocab_size")


def _set_vocabulary(args: Any) -> str:
    """The program builds its tokenizer before the container, which sets the padded size; why that is not known here."""
    if args.padded_vocab_size is not None:
        return ""
    if str(args.tokenizer_type).startswith("Null"):
        from megatron.training import global_vars

        global_vars._build_tokenizer(args)
        return ""
    args.padded_vocab_size = args.make_vocab_size_divisible_by * args.tensor_model_parallel_size
    return "only the tokenizer's files tell"


def _told(error: BaseException) -> dict[str, Any]:
    """An exception as data; ``where`` is the innermost place inside the checkout: file, line, function, its text."""
    root = sys.path[0] + os.sep
    where = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(root):
            where = [frame.filename[len(root) :], frame.lineno, frame.name, _statement(frame)]
    message = str(error) if not isinstance(error, KeyError) else f"there is no {error}"
    return {"type": type(error).__name__, "message": message, "where": where}


def _statement(frame: traceback.FrameSummary) -> str:
    """The whole statement an exception came from; it may stretch over lines."""
    import ast

    try:
        tree = ast.parse(Path(frame.filename).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return frame.line or ""
    inside = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= (frame.lineno or 0) <= (node.end_lineno or node.lineno)
    ]
    smallest = min(inside, key=lambda node: (node.end_lineno or node.lineno) - node.lineno, default=None)
    return ast.unparse(smallest) if smallest is not None and not isinstance(smallest, ast.FunctionDef) else ""


# Values -----------------------------------------------------------------------------------------------------------


def written(value: Any) -> Any:
    """A value as JSON: what JSON has no word for is a mapping with one key that starts with ``$``."""
    import enum

    if isinstance(value, enum.Enum):
        return {"$member": value.name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [written(item) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [written(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        return {"$set": [written(item) for item in sorted(value, key=str)]}
    if isinstance(value, dict):
        return {str(key): written(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device"):
        return {"$symbol": str(value)}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"$symbol": f"{value.__module__}.{value.__qualname__}"}
    return {"$object": f"{type(value).__module__}.{type(value).__qualname__}"}
