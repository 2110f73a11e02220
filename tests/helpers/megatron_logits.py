"""``python megatron_logits.py CHECKPOINT OUT``: what Megatron's model of a checkpoint says to a few tokens, on the CPU.

A process of its own: the emulation of a GPU is for all of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

TOKENS = [(7 * number + 3) % 256 for number in range(16)]


def main(checkpoint: str, out: str) -> None:
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
        from megatron.bridge.training.model_load_save import load_megatron_model

        view = megatron.linked(source, run_config, Path(folder, "iter_0000000"))
        with foreign.ONE_PROCESS.get()(backend="gloo"), torch.no_grad():
            loaded = load_megatron_model(str(view), use_cpu_init=True)
            model = (loaded[0] if isinstance(loaded, list) else loaded).eval()
            tokens = torch.tensor([TOKENS])
            logits = model(tokens, torch.arange(len(TOKENS)).unsqueeze(0), None)
    Path(out).write_text(json.dumps(logits[0].float().tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
