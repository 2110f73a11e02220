"""Steps on Kubernetes with the Kubeflow Trainer, by nemo-run's ``KubeflowExecutor``: the dry run is its manifest."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from bridge_args.launch.executors import _step
from bridge_args.launch.executors._cloud import Cloud, script_of, start, yaml_of
from bridge_args.launch.executors._nemo_run import VERSION
from bridge_args.launch.work import Step, conversions_only


def _manifest(cloud: Cloud, executor: Any, step: Step) -> str:
    """What ``kubectl apply`` takes; nemo-run's own class makes it."""
    body = executor.get_job_body(step.name, ["bash", "-c", script_of(cloud, step)])
    return yaml_of(f"# nemo-run {VERSION}: KubeflowExecutor", _step.shown(body, _step.secrets_of(step)))


_KUBERNETES: Final = Cloud(
    "KubeflowExecutor",
    "kubeflow",
    {"container_image": "image", "nodes": "num_nodes"},
    ("kubernetes", 'pip install "nemo_run[kubernetes]"'),
    ("image",),
    _manifest,
)

EXECUTOR: Final = conversions_only("kubernetes", partial(start, _KUBERNETES))
