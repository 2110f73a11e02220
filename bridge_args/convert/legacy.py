"""A checkpoint with a file for each rank, as Megatron-LM saved before ``torch_dist``: converted by building its model.

Only the weights are taken. For the optimizer and the generators there is Megatron-LM's own ``--ckpt-convert-format``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.bridge import installed
from bridge_args.checkpoint.layout import RUN_CONFIG
from bridge_args.convert.legacy_process import Plan
from bridge_args.emit.run_config import to_run_config
from bridge_args.emulation import adapt
from bridge_args.mapping.translation import Assignment, Origin, Translation
from bridge_args.training import processes

KIND: Final = "megatron-lm-legacy"
_INSTEAD: Final = (
    "load it with the Megatron-LM that has saved it, with --ckpt-convert-format torch_dist --ckpt-convert-save DIR, "
    "and adopt what that writes"
)
NOTE: Final = f"the optimizer and the generators are not taken; to keep them, {_INSTEAD}"
_PARALLEL: Final = ("tensor_model_parallel_size", "pipeline_model_parallel_size", "expert_model_parallel_size")


def reasons_against(values: Mapping[str, Any], translation: Translation, in_place: bool) -> list[str]:
    """Why it is not converted, all of them; what to do instead is said with each."""
    reasons = []
    if in_place:
        reasons.append("a checkpoint with a file for each rank is converted, which makes a new folder: name it with -o")
    if told := installed.refusal(translation.versions.bridge) or installed.missing(translation.versions.bridge):
        reasons.append(f"a checkpoint with a file for each rank is converted by Bridge: {told}; or {_INSTEAD}")
    tensor, expert = values.get("tensor_model_parallel_size"), values.get("expert_tensor_parallel_size")
    if isinstance(expert, int) and expert != tensor:
        reasons.append(f"experts with a tensor parallel size of their own ({expert}) are not converted; {_INSTEAD}")
    if values.get("use_legacy_models") or values.get("use_mcore_models") is False:
        reasons.append("the models before Megatron Core have other tensors than Bridge's, and are not converted")
    return reasons


def weights_only(translation: Translation) -> Translation:
    """The configuration says that neither the optimizer nor generators were saved, for which Bridge looks there."""
    said = {
        path: Assignment(path, False, Origin("derived", (), "only the weights were converted"), row)
        for path, name in (("checkpoint.save_optim", "no_save_optim"), ("checkpoint.save_rng", "no_save_rng"))
        for row in [translation.outcomes[name].row]
    }
    kept = tuple(one for one in translation.assignments if one.path not in said)
    return translation._replace(assignments=(*kept, *said.values()))


def convert(translation: Translation, source: Path, target: Path, tell: Callable[[str], None]) -> None:
    """Writes the weights of all ranks as one checkpoint.

    Args:
        source: folder of the iteration, complete.
        target: folder of the iteration to be made.
        tell: gets a line for the user.

    Raises:
        RehearsalError: a file holds other tensors than its arguments mean, or something else is in the way.
    """
    config, _ = adapt.adapt(to_run_config(translation, translation.run_environment), translation.versions.bridge)
    model = {**config["model"], "context_parallel_size": 1, "sequence_parallel": False, "perform_initialization": False}
    model |= {"use_cpu_initialization": True}
    config = {**config, "model": model}
    packages = adapt.stand_ins(config)
    sizes = [size if isinstance(size := translation.args[name], int) else 1 for name in _PARALLEL]
    ranks = sizes[0] * sizes[1] * sizes[2]
    scratch = target.parent / ".converted"
    plan = Plan(
        config, str(source.resolve()), str(scratch.resolve()), packages.transformer_engine, packages.apex_layer_norm
    )
    tell(f"converting the weights of {ranks} ranks" if ranks > 1 else "converting the weights of one rank")
    for _ in processes.records(
        "bridge_args.convert.legacy_process", plan, ranks, {}, emulate=True, doing="the conversion"
    ):
        pass
    (made,) = scratch.glob("iter_*")
    made.rename(target)
    shutil.rmtree(scratch)
    for name in (RUN_CONFIG, "train_state.pt"):  # of a run at its first step, with the sizes of this machine
        (target / name).unlink(missing_ok=True)
