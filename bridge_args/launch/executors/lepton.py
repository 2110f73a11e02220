"""Steps on NVIDIA DGX Cloud Lepton, by nemo-run's ``LeptonExecutor``."""

from __future__ import annotations

from functools import partial
from typing import Final

from bridge_args.launch.executors._cloud import Cloud, start
from bridge_args.launch.work import conversions_only

_LEPTON: Final = Cloud(
    "LeptonExecutor",
    "lepton",
    {"startup_commands": "pre_launch_commands"},
    ("leptonai", 'pip install "nemo_run[lepton]"'),
)

EXECUTOR: Final = conversions_only("lepton", partial(start, _LEPTON))
