"""The program that converts a checkpoint with a file for each rank: a process for each, with its part of the model.

``python -m bridge_args.convert.legacy_process PLAN`` (PLAN: JSON, see ``Plan``). Bridge builds the model, every rank
takes its own file, and Bridge saves all of them as one checkpoint. Its stdout is as that of ``training/process.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge_args import foreign
from bridge_args.checkpoint.layout import OF_A_RANK
from bridge_args.convert import rank_file
from bridge_args.emulation import placeholders
from bridge_args.training import container, ranks
from bridge_args.training.process import PlanFile, emulate, reported
from bridge_args.wording import listed

_LISTED: Final = 4  # names in a message


@dataclass(frozen=True, slots=True)
class Plan(PlanFile):
    """What the processes convert.

    Attributes:
        run_config: complete, of the run that has saved it; adapted to the CPU.
        source: folder of the iteration.
        target: folder that Bridge saves to.
        transformer_engine, apex_layer_norm: packages to stand in for.
    """

    run_config: Mapping[str, Any]
    source: str
    target: str
    transformer_engine: bool = False
    apex_layer_norm: bool = False


def main(argv: list[str]) -> int:
    """Converts as one rank; returns the exit code."""
    plan = Plan.read(Path(argv[0]))
    return reported(lambda receive: _run(plan, receive))


def _run(plan: Plan, receive: Callable[[dict[str, Any]], None]) -> None:
    emulate(receive, plan.transformer_engine, plan.apex_layer_norm, extra_states=True)
    model = container.load(plan.run_config).model
    with placeholders.absent_packages(), placeholders.fused_functions():
        state = foreign.PARALLEL_STATE.get()
        if hasattr(model, "finalize"):
            model.finalize()
        model.initialize_model_parallel(seed=0)
        chunks = model.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        file = _file_of(Path(plan.source), state)
        names = rank_file.chunks_in(file)
        if len(names) != len(chunks):
            raise ValueError(f"{file} has {len(names)} parts of a model, and its arguments mean {len(chunks)}")
        for name, chunk in zip(names, chunks, strict=True):
            _fill(foreign.UNWRAP_MODEL.get()(chunk), file, name)
        foreign.SAVE_MODEL.get()(chunks, plan.target)


def _file_of(source: Path, state: Any) -> Path:
    """Verify: megatron/training/checkpointing.py, get_checkpoint_name."""
    folder = f"mp_rank_{state.get_tensor_model_parallel_rank():02d}"
    if state.get_pipeline_model_parallel_world_size() > 1:
        folder += f"_{state.get_pipeline_model_parallel_rank():03d}"
    if state.get_expert_model_parallel_world_size() > 1:
        folder += f"_{state.get_expert_model_parallel_rank():03d}"
    return next(file for name in OF_A_RANK if (file := source / folder / name).is_file())


def _fill(module: Any, file: Path, name: str) -> None:
    """Every tensor of the module is that of the file, to the bit; none is left over on either side."""
    wanted = {
        key: tensor
        for key, tensor in module.state_dict().items()
        if not key.endswith("_extra_state") and tensor is not None
    }
    left = set(wanted)
    for key, tensor in rank_file.tensors_of(file, name):
        if key not in wanted:
            raise ValueError(f"the model that the arguments mean has no {key}, which {file} has")
        here = wanted[key]
        if tuple(here.shape) != tuple(tensor.shape) or here.dtype != tensor.dtype:
            raise ValueError(
                f"{key} is {list(tensor.shape)} {tensor.dtype} in {file}, "
                f"and the arguments mean {list(here.shape)} {here.dtype}"
            )
        here.data.copy_(tensor)
        left.discard(key)
    if left:
        raise ValueError(f"{file} has no {listed(sorted(left)[:_LISTED])}")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
if __name__ == "__mp_main__":
    # A process that a rank has spawned, as for saving: it would outlive a rank that is killed.
    ranks.end_with_parent()
