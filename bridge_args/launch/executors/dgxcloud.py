"""Steps on NVIDIA DGX Cloud with Run:ai, by nemo-run's ``DGXCloudExecutor``."""

from __future__ import annotations

from functools import partial
from typing import Final

from bridge_args.launch.executors._cloud import Cloud, start
from bridge_args.launch.work import conversions_only

_DGX_CLOUD: Final = Cloud("DGXCloudExecutor", "dgxcloud", {}, ("requests", "pip install nemo_run"))

EXECUTOR: Final = conversions_only("dgxcloud", partial(start, _DGX_CLOUD))
