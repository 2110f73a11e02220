"""The program that merges an adapter of Megatron Bridge's in a fresh process: its model, its LoRA, and a sum.

``python -m bridge_args.convert.lora_process PLAN`` (PLAN: JSON, see ``Plan``). Its stdout carries the records that
``convert/process.py`` has, too.

Bridge's own way (its ``examples/peft/merge_lora.py``) is not gone where it says less than it should: what the adapter
holds is compared with what its settings make of the base, name by name and shape by shape, before a number is added.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge_args import foreign
from bridge_args.emulation import placeholders
from bridge_args.training import ranks
from bridge_args.training.process import PlanFile, emulate, reported

Record = dict[str, Any]
Receive = Callable[[Record], None]

_TOKENS: Final = 8  # that the model is tried on
_ADAPTER: Final = ".adapter."
_OF_EXPERTS: Final = re.compile(
    r"layers\.(?P<layer>\d+\.)?.*\.experts\.linear_fc[12]\.adapter\.linear_(in|out)\.weight$"
)


@dataclass(frozen=True, slots=True)
class Plan(PlanFile):
    """What one process merges.

    Attributes:
        base: folder of one iteration, with a run config that can be loaded here.
        adapter: folder of one iteration.
        shapes: tensor of the adapter to its shape, by its index.
        settings: of Bridge's LoRA; a dtype by its name.
        target: folder that gets the checkpoint.
        emulate: on the CPU, with stand-ins for what is missing; otherwise with what is there.
        transformer_engine, apex_layer_norm: packages to stand in for under the emulation.
        extra_states: the base has the states that layers of Transformer Engine look for, and so has the result.
        smoke: run the model with the adapter and without it, once it is merged.
    """

    base: str
    adapter: str
    shapes: Mapping[str, Sequence[int]]
    settings: Mapping[str, Any]
    target: str
    emulate: bool = True
    transformer_engine: bool = True
    apex_layer_norm: bool = False
    extra_states: bool = False
    smoke: bool = True


def main(argv: list[str]) -> int:
    """Does what a plan says in this process; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return reported(lambda receive: _run(plan, receive))


def _run(plan: Plan, receive: Receive) -> None:
    if plan.emulate:
        emulate(receive, plan.transformer_engine, plan.apex_layer_norm, extra_states=plan.extra_states)
    torch = importlib.import_module("torch")
    with placeholders.absent_packages():
        load, save = foreign.LOAD_MODEL.get(), foreign.SAVE_MODEL.get()
        lora = foreign.LORA.get()
        with foreign.ONE_PROCESS.get()(backend="gloo" if plan.emulate else "nccl"), torch.no_grad():
            loaded = load(plan.base, use_cpu_init=plan.emulate)
            chunks = [_inside(chunk) for chunk in (loaded if isinstance(loaded, list) else [loaded])]
            chunks = lora(**_settings(torch, lora, plan))(chunks, training=False)
            wanted = _of_adapter(plan, chunks)
            if reasons := _differences(plan, wanted):
                receive({"refused": reasons})
                return
            _load_adapter(plan, chunks, wanted)
            before = _says(torch, chunks) if plan.smoke else None
            wrappers = list(_wrappers(chunks))
            receive({"tensors": len(wrappers)})
            for wrapper in wrappers:
                receive({"did": _merge(torch, wrapper)})
            _unwrap(chunks)
            _all_finite(torch, chunks)
            receive({"told": {"merged": len(wrappers), **_compared(torch, before, chunks)}})
            save(chunks, plan.target)


def _inside(chunk: Any) -> Any:
    """The model itself, without what casts its inputs."""
    while hasattr(chunk, "module"):
        chunk = chunk.module
    return chunk


def _settings(torch: Any, lora: Any, plan: Plan) -> dict[str, Any]:
    """Those that this Bridge's LoRA has; a dtype as torch has it.

    Where the checkpoint has an adapter for every expert, every expert gets its own: for experts that share one Bridge
    would make one of all, their mean. Verify: megatron/bridge/peft/utils.py
    ParallelLinearAdapter._apply_expert_axis_factory.
    """
    settings, known = plan.settings, {one.name for one in dataclasses.fields(lora) if one.init}
    if unknown := sorted(settings.keys() - known):
        raise ValueError(f"LoRA of the installed Bridge has no {', '.join(unknown)}")
    made = dict(settings)
    if made.get("lora_dtype") is not None:
        made["lora_dtype"] = getattr(torch, str(made["lora_dtype"]).removeprefix("torch."))
    if "share_expert_adapters" in known and not made.get("experts_shared_outer_loras") and any(by_expert(plan.shapes)):
        made["share_expert_adapters"] = False
    return made


def by_expert(shapes: Mapping[str, Sequence[int]]) -> list[bool]:
    """For every matrix of an adapter of experts that are one weight: does it have a part for each expert?

    Layers that are saved together are an axis of their own, as are experts; what is left is the matrix.
    """
    found = ((_OF_EXPERTS.search(name), len(shape)) for name, shape in shapes.items())
    return [axes - (0 if match["layer"] else 1) > 2 for match, axes in found if match]


# What the adapter holds -----------------------------------------------------------------------------------------------


def _of_adapter(plan: Plan, chunks: Sequence[Any]) -> dict[str, Any]:
    """What Bridge's settings make of the base, for reading: key to its sharded tensor, without extra states."""
    common = foreign.COMMON_STATE.get()(plan.adapter)
    metadata = foreign.CONTENT_METADATA.get()(preloaded_state_dict=common)
    sharded: dict[str, Any] = {}
    for chunk in chunks:
        sharded |= chunk.sharded_state_dict(metadata=metadata)
    return {name: one for name, one in sharded.items() if _ADAPTER in name and "_extra_state" not in name}


def _parts(sharded: Mapping[str, Any]) -> Iterator[Any]:
    """Sharded tensors, with those that one is split into when it is saved."""
    nested = importlib.import_module("megatron.core.dist_checkpointing.dict_utils").nested_values
    mapping = importlib.import_module("megatron.core.dist_checkpointing.mapping")
    for one in sharded.values():
        made = one.build() if isinstance(one, mapping.ShardedTensorFactory) else one
        yield from nested(made) if isinstance(made, (dict, list)) else [made]


def _differences(plan: Plan, wanted: Mapping[str, Any]) -> list[str]:
    """Between what the adapter holds and what its settings mean, by name."""
    meant = {one.key: list(one.global_shape) for one in _parts(wanted)}
    held = {name: list(shape) for name, shape in plan.shapes.items() if "_extra_state" not in name}
    reasons = []
    if not meant:
        reasons.append("the settings of the adapter aim at no layer of the base")
    if lacking := sorted(meant.keys() - held.keys()):
        reasons.append(f"the adapter lacks {_some(lacking)}, which its settings aim at in this base")
    if more := sorted(held.keys() - meant.keys()):
        reasons.append(f"the base has no layer, or the settings none, for {_some(more)} of the adapter")
    other = [name for name in sorted(meant.keys() & held.keys()) if meant[name] != held[name]]
    if other:
        told = [f"{name} {held[name]} for {meant[name]}" for name in other]
        reasons.append(f"the adapter has other shapes than its settings mean in this base: {_some(told)}")
    return reasons


def _some(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join([*names[:3], *([f"{more} more"] if more > 0 else [])])


def _load_adapter(plan: Plan, chunks: Sequence[Any], wanted: Mapping[str, Any]) -> None:
    """Every number of the adapter is one that was read: what was not stays NaN, and is found."""
    torch = importlib.import_module("torch")
    for _, parameter in _adapters(chunks):
        parameter.fill_(float("nan"))
    loaded = foreign.LOAD_SHARDED.get()(dict(wanted), plan.adapter)
    for chunk in chunks:
        own = chunk.state_dict().keys()
        chunk.load_state_dict({name: value for name, value in loaded.items() if name in own}, strict=False)
    unread = [name for name, parameter in _adapters(chunks) if not bool(torch.isfinite(parameter).all())]
    if unread:
        raise ValueError(f"numbers of the adapter are not finite: {_some(unread)}")


def _adapters(chunks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for chunk in chunks:
        for name, parameter in chunk.named_parameters():
            if _ADAPTER in name:
                yield name, parameter


# The sum --------------------------------------------------------------------------------------------------------------


def _wrappers(chunks: Sequence[Any]) -> Iterator[Any]:
    wrapper = foreign.ADAPTED.get()
    for chunk in chunks:
        yield from (module for module in chunk.modules() if isinstance(module, wrapper))


def _merge(torch: Any, wrapper: Any) -> int:
    """base + alpha / dim * B @ A, in 32 bits and rounded once; returns the bytes of the weights."""
    adapter, base = wrapper.adapter, wrapper.to_wrap
    weights = [base.weight] if hasattr(base, "weight") else [getattr(base, f"weight{n}") for n in range(base.num_gemms)]
    if any(weight is None for weight in weights):
        raise ValueError(
            f"{adapter.base_linear_name} has no weight of its own: it shares that of the embeddings, and a merge would "
            "change both"
        )
    scale = adapter.alpha / adapter.dim
    low_in, low_out = adapter.linear_in.weight.float(), adapter.linear_out.weight.float()
    for number, weight in enumerate(weights):
        of_expert = low_in.dim() == 3
        product = (
            low_out[number % len(low_out)] @ low_in[number % len(low_in)] if of_expert else low_out @ low_in
        ) * scale
        if product.shape != weight.shape:
            raise ValueError(f"{adapter.base_linear_name}: {list(product.shape)} for {list(weight.shape)}")
        weight.data.copy_(weight.data.float().add_(product))
    return sum(weight.numel() * weight.element_size() for weight in weights)


def _unwrap(chunks: Sequence[Any]) -> None:
    wrapper = foreign.ADAPTED.get()
    for chunk in chunks:
        for module in list(chunk.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, wrapper):
                    if hasattr(child.to_wrap, "return_layernorm_output"):
                        child.to_wrap.return_layernorm_output = False  # the adapter alone has asked for it
                    setattr(module, name, child.to_wrap)


def _all_finite(torch: Any, chunks: Sequence[Any]) -> None:
    for chunk in chunks:
        for name, parameter in chunk.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise ValueError(f"not every number of {name} is finite once the adapter is merged")


# Afterwards -----------------------------------------------------------------------------------------------------------


def _says(torch: Any, chunks: Sequence[Any]) -> Any:
    model = chunks[0].eval()
    tokens = torch.arange(_TOKENS).unsqueeze(0).to(next(model.parameters()).device)
    return model(tokens, tokens.clone(), None).float()


def _compared(torch: Any, before: Any, chunks: Sequence[Any]) -> Record:
    """How far the merged model is from the base with the adapter beside it, on a few tokens."""
    if before is None:
        return {}
    after = _says(torch, chunks)
    if not bool(torch.isfinite(after).all()):
        raise ValueError("the merged model says nothing that is a number")
    return {"logits_differ_by": float((after - before).abs().max()), "logits_are_up_to": float(before.abs().max())}


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
if __name__ == "__mp_main__":
    # A process that is spawned for saving: it would outlive one that is killed.
    ranks.end_with_parent()
