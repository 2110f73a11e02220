"""``python megatron_adapter.py CHECKPOINT OUT SETTINGS LOGITS``: an adapter of Bridge's LoRA for a checkpoint.

It has random numbers, and is saved as Bridge's training saves one. LOGITS gets what the model says with it to the
tokens of ``megatron_logits.py``. A process of its own: the emulation of a GPU is for all of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(checkpoint: str, out: str, settings: str, logits: str) -> None:
    from megatron_logits import TOKENS

    from bridge_args import foreign
    from bridge_args.bridge import installed
    from bridge_args.convert import auto_bridge, megatron
    from bridge_args.emulation import device, placeholders

    source, reasons = megatron.read(Path(checkpoint), None)
    assert source is not None, reasons
    run_config, stand_ins = auto_bridge.on_cpu(source.run_config, installed.version() or "")
    device.install(transformer_engine=stand_ins.transformer_engine, apex_layer_norm=stand_ins.apex_layer_norm)
    device.prepare_megatron_core()
    import torch

    with tempfile.TemporaryDirectory() as folder, placeholders.absent_packages():
        from megatron.bridge.peft.lora import LoRA
        from megatron.bridge.training.model_load_save import load_megatron_model

        view = megatron.linked(source, run_config, Path(folder, "iter_0000000"))
        with foreign.ONE_PROCESS.get()(backend="gloo"), torch.no_grad():
            loaded = load_megatron_model(str(view), use_cpu_init=True)
            model = loaded if isinstance(loaded, list) else [loaded]
            peft = LoRA(**json.loads(settings))
            model = peft(model, training=True)
            torch.manual_seed(3)
            for chunk in model:
                for parameter in chunk.parameters():
                    if parameter.requires_grad:
                        parameter.copy_(torch.randn(parameter.shape) * 0.1)
            peft.set_params_to_save(model)
            model[0].eval()
            said = model[0](torch.tensor([TOKENS]), torch.arange(len(TOKENS)).unsqueeze(0), None)
            Path(logits).write_text(json.dumps(said[0].float().tolist()))
            save(model, peft, out, checkpoint)


def save(model: list[Any], peft: Any, out: str, base: str) -> None:
    """As Bridge's save_megatron_model, with the adapter in the configuration."""
    from megatron.bridge.training import checkpointing, config
    from megatron.bridge.training.state import GlobalState
    from megatron.core.utils import get_model_config

    state = GlobalState()
    state.cfg = config.ConfigContainer(
        model=get_model_config(model[0]),
        train=None,
        optimizer=config.OptimizerConfig(use_distributed_optimizer=False),
        ddp=None,
        scheduler=None,
        dataset=None,
        logger=config.LoggerConfig(),
        tokenizer=None,
        checkpoint=config.CheckpointConfig(
            async_save=False, save=out, save_optim=False, save_rng=False, pretrained_checkpoint=base
        ),
        dist=None,
        peft=peft,
    )
    checkpointing.save_checkpoint(state, model, None, None, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
