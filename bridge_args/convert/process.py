"""The program that a conversion starts in a fresh process: Bridge's AutoBridge, on the CPU emulation if need be.

``python -m bridge_args.convert.process PLAN`` (PLAN: JSON, see ``Plan``). Its stdout carries one JSON object a line:
``{"replaced": [...]}`` under the emulation, ``{"refused": [...]}`` where nothing is begun, ``{"tensors": ..., "bytes":
...}`` and ``{"did": ...}`` while it works, ``{"told": {...}}`` for the record of the conversion, and
``{"error": ..., "where": ...}`` if it fails.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge_args import foreign
from bridge_args.checkpoint.layout import folder_of
from bridge_args.convert import hugging_face, meaning
from bridge_args.convert.shards import Shards, empty_of_shape
from bridge_args.emulation import placeholders
from bridge_args.training import ranks
from bridge_args.training.process import PlanFile, emulate, reported
from bridge_args.wording import listed

Record = dict[str, Any]
Receive = Callable[[Record], None]

# How Bridge says that one side has a tensor and the other has none.
_NO_COUNTERPART: Final = re.compile(r"No mapping found for \w+: (.+)")
_NOT_IN_SOURCE: Final = re.compile(
    r"Can't find (?:the following HF parameters in hf_keys: )?\W*(.+?)\W*(?: in hf_keys)?$"
)

# A buffer that transformers once saved and computes: it is no weight. Verify: the same name in its _keys_to_ignore.
_COMPUTED: Final = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias")


@dataclass(frozen=True, slots=True)
class Plan(PlanFile):
    """What one process converts.

    Attributes:
        action: ``export`` or ``import``.
        model: folder of Hugging Face's; for an export its configuration counts, and the names of its tensors.
        checkpoint: folder of one iteration, to be read; for an import: where the checkpoint is to be.
        target: folder that gets the weights of an export.
        scratch: a folder for the moment.
        tokenizer: folder with the one that the result gets; None: it gets none.
        dtype: of an import; None: that of the model.
        emulate: on the CPU, with stand-ins for what is missing; otherwise with what is there.
        transformer_engine, apex_layer_norm: packages to stand in for under the emulation.
        trust_remote_code: run code that comes with the model.
        only_ask: say whether it can be done, and do nothing.
    """

    action: str
    model: str
    checkpoint: str
    target: str
    scratch: str
    tokenizer: str | None = None
    dtype: str | None = None
    emulate: bool = True
    transformer_engine: bool = True
    apex_layer_norm: bool = False
    trust_remote_code: bool = False
    only_ask: bool = False


def main(argv: list[str]) -> int:
    """Does what a plan says in this process; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return reported(lambda receive: _run(plan, receive))


def _run(plan: Plan, receive: Receive) -> None:
    if plan.emulate:
        emulate(receive, plan.transformer_engine, plan.apex_layer_norm, extra_states=plan.action == "import")
    with placeholders.absent_packages():
        auto = foreign.AUTO_BRIDGE.get()
    if reasons := _unsupported(auto, Path(plan.model)):
        receive({"refused": reasons})
        return
    if plan.only_ask:
        return
    if reasons := _against_files(plan):
        receive({"refused": reasons})
        return
    with contextlib.ExitStack() as stack:
        if plan.emulate:
            stack.enter_context(placeholders.fused_functions())
        stack.enter_context(foreign.ONE_PROCESS.get()(backend="gloo"))
        said = stack.enter_context(_heard())
        try:
            (_export if plan.action == "export" else _import)(plan, auto, receive)
        except Exception as error:
            if not said:
                raise
            receive({"refused": [_without_counterpart(plan, said)]})
            traceback.print_exception(error)


@contextlib.contextmanager
def _heard() -> Iterator[dict[str, bool]]:
    """What Bridge finds no counterpart for: of its own (true), or of what Hugging Face's model should have (false).

    It says so in a warning, and goes on to some error without names.

    Verify: megatron/bridge/models/conversion/model_bridge.py, build_conversion_tasks, in Bridge 0.3 and 0.6.
    """
    found: dict[str, bool] = {}

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for kind in (_NO_COUNTERPART, _NOT_IN_SOURCE):
                if said := kind.search(record.getMessage()):
                    found[said[1][:200]] = kind is _NO_COUNTERPART

    logger, listener = logging.getLogger("megatron.bridge"), Listener()
    logger.addHandler(listener)
    try:
        yield found
    finally:
        logger.removeHandler(listener)


def _without_counterpart(plan: Plan, heard: Mapping[str, bool]) -> str:
    if own := [name for name, is_own in heard.items() if is_own]:
        told = listed(own[:4])
        return f"the installed Bridge does not convert a model like {plan.model}: it has no counterpart for {told}"
    return f"{plan.model} has no {listed([*heard][:4])}, which Bridge makes a weight of Megatron's of"


def _unsupported(auto: Any, model: Path) -> list[str]:
    config = hugging_face.config_of(model)
    said, mapped = config.get("architectures"), config.get("auto_map")
    known = auto.list_supported_models()
    names = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    # Bridge goes by the class of the model's own code, where one is named (get_causal_lm_class_name_via_auto_map).
    own = str(mapped.get("AutoModelForCausalLM", "")).rpartition(".")[2] if isinstance(mapped, Mapping) else ""
    if own and own not in known and not set(names).isdisjoint(known):
        return [
            f"{model / 'config.json'} names {own[:80]} of the model's own code (auto_map), which the installed Bridge "
            f"does not convert; where {listed(names)} of transformers is the same model, take auto_map out of a copy"
        ]
    if not names:
        return [f"{model / 'config.json'} names no architecture, by which Bridge finds its conversion"]
    if set(names).isdisjoint(known):
        near = [name for name in known if name.endswith("ForCausalLM")]
        return [
            f"the installed Bridge converts no {listed(names)}; of models of language it knows "
            + listed([name.removesuffix("ForCausalLM") for name in near])
        ]
    return []


# Megatron -> Hugging Face -----------------------------------------------------------------------------------------


def _export(plan: Plan, auto: Any, receive: Receive) -> None:
    model = Path(plan.model)
    meant = hugging_face.expected(model, plan.trust_remote_code)
    bridge = auto.from_hf_pretrained(str(_with_weights(model, meant, plan)), trust_remote_code=plan.trust_remote_code)
    saved, _ = foreign.MODEL_OF_CHECKPOINT.get()(plan.checkpoint)
    provider = bridge.to_megatron_provider(load_weights=False)
    if reasons := meaning.left_out(hugging_face.config_of(model), provider) + meaning.differences(saved, provider):
        receive({"refused": reasons})
        return
    foreign.MODEL_OF_CHECKPOINT.hook(lambda load: lambda path: _completed(load(path), provider))
    chunks = bridge.load_megatron_model(plan.checkpoint)
    _all_finite(chunks)
    receive({"tensors": len(meant)})
    vocabulary = hugging_face.vocabulary_of(model)
    shards, cut = Shards(Path(plan.target)), {}
    for name, tensor in bridge.export_hf_weights(chunks, cpu=True, show_progress=False):
        tensor = tensor.detach()
        wanted = meant.get(name)
        if wanted is not None and tuple(tensor.shape) != wanted:
            cut[name], tensor = _trimmed(name, tensor, wanted, vocabulary)
        receive({"did": shards.add(name, tensor.contiguous().clone())})
    written = shards.finish()
    if lacking := sorted(meant.keys() - set(written)):
        raise ValueError(f"Bridge has written no {listed(lacking[:4])}")
    receive({"told": {"rows_of_padding_left_out": cut, "bytes": shards.total}})


def _completed(loaded: tuple[Any, Any], provider: Any) -> tuple[Any, Any]:
    """With what Bridge 0.3 sets on a model beside the fields of its class, as for gpt_oss, and does not save."""
    model, arguments = loaded
    for name, value in vars(provider).items():
        if not hasattr(model, name):
            setattr(model, name, value)
    return model, arguments


def _with_weights(model: Path, meant: Mapping[str, tuple[int, ...]], plan: Plan) -> Path:
    """Bridge asks a model for the names of its tensors; one without weights gets an empty file that has them."""
    if any(model.glob("*.safetensors")):
        return model
    folder = Path(plan.scratch, "model")
    shutil.copytree(model, folder)
    empty_of_shape(folder / "model.safetensors", dict(meant))
    return folder


def _trimmed(name: str, tensor: Any, wanted: Sequence[int], vocabulary: object) -> tuple[int, Any]:
    """Without rows of padding, which only the vocabulary has; and how many they were."""
    more = tensor.shape[0] - wanted[0] if tensor.dim() == len(wanted) else 0
    if more <= 0 or tuple(tensor.shape[1:]) != tuple(wanted[1:]) or wanted[0] != vocabulary:
        raise ValueError(f"{name} is {list(tensor.shape)}, and config.json means {list(wanted)}")
    return more, tensor[: wanted[0]]


def _all_finite(chunks: Sequence[Any]) -> None:
    torch = importlib.import_module("torch")
    for chunk in chunks:
        for name, parameter in chunk.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise ValueError(f"not every number of {name} is finite")


# Hugging Face -> Megatron -----------------------------------------------------------------------------------------


def _import(plan: Plan, auto: Any, receive: Receive) -> None:
    bridge = auto.from_hf_pretrained(plan.model, trust_remote_code=plan.trust_remote_code)
    held = hugging_face.tensors_of(Path(plan.model))
    receive({"tensors": len(held)})
    provider = bridge.to_megatron_provider(load_weights=True)
    if reasons := meaning.left_out(hugging_face.config_of(Path(plan.model)), provider):
        receive({"refused": reasons})
        return
    if plan.dtype is not None:
        _in_type(provider, plan.dtype)
    provider.register_pre_wrap_hook(_nothing_known, prepend=True)
    exact = list[tuple[Any, Any]]()
    provider.register_pre_wrap_hook(lambda chunks: _biases(chunks, exact))
    if hasattr(provider, "finalize"):
        provider.finalize()
    chunks = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
    for router, bias in exact:
        router.expert_bias.data = bias
    _all_finite(chunks)
    _comes_back(bridge, chunks, Path(plan.model), receive)
    words = bridge._model_bridge.get_hf_tokenizer_kwargs() if _has_words(bridge) else None
    words = {**(words or {}), **({"trust_remote_code": True} if plan.trust_remote_code else {})}
    bridge.save_megatron_model(
        chunks, plan.checkpoint, hf_tokenizer_path=plan.model, hf_tokenizer_kwargs=words, low_memory_save=True
    )
    saved = folder_of(Path(plan.checkpoint), 0) / "tokenizer"
    if saved.is_dir():
        told = hugging_face.same_tokenizer(saved, Path(plan.model), plan.trust_remote_code)
        receive({"told": {"tokenizer": told}})


def _against_files(plan: Plan) -> list[str]:
    """What transformers does not take; the tokenizer would stop everything at the end."""
    if why := hugging_face.why_no_configuration(Path(plan.model), plan.trust_remote_code):
        return [why]
    why = "" if plan.tokenizer is None else hugging_face.why_no_tokenizer(Path(plan.tokenizer), plan.trust_remote_code)
    return [why] if why else []


def _has_words(bridge: Any) -> bool:
    return hasattr(bridge._model_bridge, "get_hf_tokenizer_kwargs")


def _in_type(provider: Any, dtype: str) -> None:
    torch = importlib.import_module("torch")
    provider.params_dtype = getattr(torch, dtype)
    provider.bf16, provider.fp16 = dtype == "bfloat16", dtype == "float16"
    if hasattr(provider, "autocast_dtype"):
        provider.autocast_dtype = provider.params_dtype


def _nothing_known(chunks: list[Any]) -> list[Any]:
    """What no weight of the model goes to stays NaN, and is found."""
    torch = importlib.import_module("torch")
    with torch.no_grad():
        for chunk in chunks:
            for parameter in chunk.parameters():
                if parameter.is_floating_point():
                    parameter.fill_(float("nan"))
    return chunks


def _biases(chunks: list[Any], exact: list[tuple[Any, Any]]) -> list[Any]:
    """Of routers, in float32 as they were loaded: Bridge 0.3 rounds them with the rest of a model of 16 bits."""
    for chunk in chunks:
        for module in chunk.modules():
            if (bias := getattr(module, "expert_bias", None)) is not None:
                exact.append((module, bias.detach().clone()))
    return chunks


def _comes_back(bridge: Any, chunks: Any, model: Path, receive: Receive) -> None:
    """Every tensor of the model, and no other, is what Bridge makes of the Megatron model again."""
    torch = importlib.import_module("torch")
    source = _Weights(model)
    left = set(source.places)
    for name, tensor in bridge.export_hf_weights(chunks, cpu=True, show_progress=False):
        receive({"did": tensor.numel() * tensor.element_size()})
        if name not in source.places:
            continue  # one that is tied, and was saved once
        wanted = source.get(name)
        if tuple(tensor.shape) != tuple(wanted.shape):
            vocabulary = hugging_face.vocabulary_of(model)
            _, tensor = _trimmed(name, tensor, wanted.shape, vocabulary)
        if not torch.equal(tensor, wanted.to(tensor.dtype)):
            raise ValueError(
                f"{name} does not come back as it was: Bridge reads this model otherwise than it writes it"
            )
        left.discard(name)
    left = {name for name in left if not name.endswith(_COMPUTED)}
    if left and (unread := [name for name in sorted(left) if not source.is_tied(name)]):
        raise ValueError(f"Bridge has no place for {listed(unread[:4])}, which would be lost")


class _Weights:
    """Tensors of a model, read one by one."""

    def __init__(self, model: Path) -> None:
        self._open = importlib.import_module("safetensors").safe_open
        self.places: dict[str, Path] = {}
        for file in sorted(model.glob("*.safetensors")):
            with self._open(file, framework="pt") as held:
                self.places |= dict.fromkeys(held.keys(), file)

    def get(self, name: str) -> Any:
        with self._open(self.places[name], framework="pt") as held:
            return held.get_tensor(name)

    def is_tied(self, name: str) -> bool:
        """It is the embedding once more."""
        torch = importlib.import_module("torch")
        embedding = next((one for one in self.places if one.endswith("embed_tokens.weight")), None)
        return name == "lm_head.weight" and embedding is not None and torch.equal(self.get(name), self.get(embedding))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
if __name__ == "__mp_main__":
    # A process that is spawned for saving: it would outlive one that is killed.
    ranks.end_with_parent()
