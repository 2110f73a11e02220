"""Run where nemo-toolkit is installed: the rate that NeMo's own schedulers set at every step.

``python nemo2_rates.py SCHEDULES.json`` reads a list of ``[class, its arguments, the rate, the number of steps]``, and
prints a list of rates for each, or what NeMo says instead of making one.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def rates(name: str, arguments: dict[str, Any], rate: float, steps: int) -> list[float]:
    import torch
    from nemo.lightning.pytorch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    module = getattr(lr_scheduler, name)(**arguments, max_steps=steps)
    schedule = module.scheduler(None, optimizer)["lr_scheduler"]["scheduler"]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def main(file: str) -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from bridge_args.dev.nemo2_imports import nemo_collections

    nemo_collections()
    told: list[Any] = []
    with open(file, encoding="utf-8") as stream:
        for one in json.load(stream):
            try:
                told.append(rates(*one))
            except Exception as error:
                told.append(f"{type(error).__name__}: {error}")
    out.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
