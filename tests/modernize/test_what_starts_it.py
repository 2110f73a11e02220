"""Launchers, programs and environment variables: real bash starts what is meant, with the variables that are meant."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from pathlib import Path

import by_bash
import pytest

from bridge_args.modernize import move, page
from bridge_args.source.yaml.kubernetes import containers
from bridge_args.steps import Asked

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 128 --lr 1e-4 --train-iters 3"
)
FSDP = f"{SMALL} --use-torch-fsdp2 --untie-embeddings-and-output-weights --no-gradient-accumulation-fusion"
GRAPHS = f"{SMALL} --external-cuda-graph --te-rng-tracker"
TORCHRUN = "torchrun --nproc-per-node 1 pretrain_gpt.py"
ONE = "CUDA_DEVICE_MAX_CONNECTIONS"
MEMORY, REGISTER = "PYTORCH_CUDA_ALLOC_CONF", "NCCL_GRAPH_REGISTER"
VARIABLES = (ONE, MEMORY, REGISTER)
SEEN = re.compile(rf"{ONE}|num-layers").findall


def moved(folder: Path, text: str, before: str, name: str = "train.sh", **files: str) -> move.Moved:
    for other, content in files.items():
        (folder / f"{other}.sh").write_text(content)
    (folder / name).write_text(text)
    return move.moved(move.text_of(str(folder / name)), Asked(megatron_lm=before), "0.19.0")


# Scripts that start a fully sharded model with one connection, which 0.12 and later refuse.
SHARDED = {
    "export": f"export {ONE}=1\n{TORCHRUN} {FSDP}\n",
    "export in quotes": f'export {ONE}="1"  # one\nexport A=1 B=2\n{TORCHRUN} {FSDP}\n',
    "export of several": f"export A=1 {ONE}=1 B=1\n{TORCHRUN} {FSDP}\n",
    "set, then exported": f"{ONE}=1\nexport {ONE}\n{TORCHRUN} {FSDP}\n",
    "declare": f"declare -x {ONE}=1\n{TORCHRUN} {FSDP}\n",
    "a default": f"export {ONE}=${{{ONE}:-1}}\n{TORCHRUN} {FSDP}\n",
    "in front": f"{ONE}=1 {TORCHRUN} {FSDP}\n",
    "in front, on a line of its own": f"{ONE}=1 \\\n    A=1 {TORCHRUN} \\\n    {FSDP}\n",
    "env": f"env A=1 {ONE}=1 {TORCHRUN} {FSDP}\n",
    "srun": f"srun --ntasks=1 --export=ALL,{ONE}=1,A=1 {TORCHRUN} {FSDP}\n",
    "a function": f"train() {{\n    export {ONE}=1\n    {TORCHRUN} {FSDP}\n}}\ntrain\n",
    "an inner shell": f"bash -c 'export {ONE}=1; {TORCHRUN} {FSDP}'\n",
    "a condition": f"if true; then export {ONE}=1; else export {ONE}=1; fi\n{TORCHRUN} {FSDP}\n",
    "set -a": f"set -a\n{ONE}=1\nset +a\n{TORCHRUN} {FSDP}\n",
}


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("name", SHARDED)
def test_a_variable_gets_the_value_that_the_later_version_takes(name: str, tmp_path: Path) -> None:
    text = SHARDED[name]
    found = moved(tmp_path, text, "0.11.0")
    assert found.is_same_run, (found.not_done, found.plans[0].refused)
    judge = by_bash.Judge(tmp_path, VARIABLES)
    ((_, one, *_),), ((_, other, *rest),) = judge.passed(text), judge.passed(found.files[0].after)
    assert (one, other) == (f"{ONE}=1", f"{ONE}=8")
    assert "--use-torch-fsdp2" in rest
    lines = found.files[0].after.splitlines()
    gone = [line for line in text.splitlines() if line not in lines]
    assert all(SEEN(line) for line in gone), gone
    assert any(line.startswith(f"{ONE}=1 -> {ONE}=8: ") or ONE in line for line in page.lines(found.plans[0]))


def test_a_variable_of_another_file(tmp_path: Path) -> None:
    found = moved(tmp_path, f"source ./env.sh\n{TORCHRUN} {FSDP}\n", "0.11.0", env=f"# how it runs\nexport {ONE}=1\n")
    assert found.is_same_run, found.not_done
    assert {file.name: file.after for file in found.files}["env.sh"] == f"# how it runs\nexport {ONE}=8\n"


def test_yaml(tmp_path: Path) -> None:
    lines = "".join(f"  --{flag.strip().replace(' ', ': ', 1)}\n" for flag in f" {FSDP}".split(" --")[1:])
    lines = "".join(f"{line}: true\n" if ":" not in line else f"{line}\n" for line in lines.splitlines())
    text = f"ENV_VARS:\n  A: 1\n  {ONE}: 1  # one\nMODEL_ARGS:\n{lines}"
    found = moved(tmp_path, text, "0.11.0", "model_config.yaml")
    assert found.is_same_run, (found.not_done, found.plans[0].refused)
    assert f"  A: 1\n  {ONE}: 8  # one\n" in found.files[0].after


LAUNCHED = f"python -m torch.distributed.launch --use_env --nproc_per_node=8 pretrain_gpt.py {SMALL}"
MANIFEST = """apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {{name: old}}  # as it was
spec:
  pytorchReplicaSpecs:
    Worker:
      replicas: 1
      template:
        spec:
          containers:
            - name: pytorch
              {command}
              resources: {{limits: {{nvidia.com/gpu: 8}}}}
"""
STYLES = {
    "double": 'command: ["{}"]'.format('", "'.join(LAUNCHED.split())),
    "single": "command: ['{}']  # in single quotes".format("', '".join(LAUNCHED.split())),
    "bare": f"command: [{', '.join(LAUNCHED.split())}]",
    "lines": "command:\n                - " + "\n                - ".join(json.dumps(one) for one in LAUNCHED.split()),
    "split": "command: [python]\n              args: ["
    + ", ".join(json.dumps(one) for one in LAUNCHED.split()[1:])
    + "]",
    "shell": f"command: [bash, -c]\n              args:\n                - |\n                  {LAUNCHED}",
    "one text": f'command: [bash, -c, "{LAUNCHED}"]',
}


@pytest.mark.parametrize("style", STYLES)
def test_a_launcher_in_a_manifest(style: str, tmp_path: Path) -> None:
    text = MANIFEST.format(command=STYLES[style])
    found = moved(tmp_path, text, "0.16.1", "job.yaml")
    left = [(one.item.was, one.place and one.place.line) for one in found.not_done]
    assert left == ([(("--vocab-size", "128"), 12)] if style == "one text" else []) and not found.plans[0].refused
    after = found.files[0].after
    ((container,), (_,)) = containers(after, "job.yaml"), containers(text, "job.yaml")
    words = list(map(str, container.words)) or shlex.split(container.text or "")
    assert words[:4] == ["python", "-m", "torch.distributed.run", "--nproc_per_node=8"]
    assert sorted(words[5:]) == sorted(found.plans[0].argv) or left
    changed = difflib.ndiff(text.splitlines(), after.splitlines())
    assert not [line for line in changed if line[0] in "-+" and ("resources" in line or "metadata" in line)]


SEGMENTS = "expandable_segments:True"
GRAPHED = {
    "export": f"export {MEMORY}={SEGMENTS}\n{TORCHRUN} {GRAPHS}\n",
    "export in quotes": f'export {MEMORY}="{SEGMENTS}"\n{TORCHRUN} {GRAPHS}\n',
    "in front": f"{MEMORY}={SEGMENTS} {TORCHRUN} {GRAPHS}\n",
    "set, then exported": f"{MEMORY}={SEGMENTS}\nexport {MEMORY}\n{TORCHRUN} {GRAPHS}\n",
    "an inner shell": f'bash -c "export {MEMORY}={SEGMENTS}; {TORCHRUN} {GRAPHS}"\n',
}


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("name", GRAPHED)
def test_a_variable_that_the_later_version_wants(name: str, tmp_path: Path) -> None:
    found = moved(tmp_path, GRAPHED[name], "0.13.1")
    assert found.is_same_run, (found.not_done, found.plans[0].refused, found.plans[0].left)
    judge = by_bash.Judge(tmp_path, VARIABLES)
    ((_, _, memory, register, *words),) = judge.passed(found.files[0].after)
    assert (memory, register) == (f"{MEMORY}={SEGMENTS}", f"{REGISTER}=0")
    assert sorted(words[words.index("pretrain_gpt.py") + 1 :]) == sorted(found.plans[0].argv)


def test_what_is_not_concerned_stays(tmp_path: Path) -> None:
    """Other models may have one connection; a variable that is computed is named and left."""
    found = moved(tmp_path, f"export {ONE}=1\n{TORCHRUN} {SMALL}\n", "0.11.0")
    assert found.files[0].after.startswith(f"export {ONE}=1\n") and not found.plans[0].variables
    found = moved(tmp_path, f"N=1\nexport {ONE}=$N\n{TORCHRUN} {FSDP} --seed $N\n", "0.11.0")
    (left,) = found.not_done
    assert (left.item.words, left.place and left.place.line) == ((f"{ONE}=8",), 2)
    assert found.files[0].after.startswith(f"N=1\nexport {ONE}=$N\n")


def test_what_no_value_keeps_is_told(tmp_path: Path) -> None:
    text = f"export NCCL_ALGO=Tree NVTE_ALLOW_NONDETERMINISTIC_ALGO=0\n{TORCHRUN} {SMALL} --deterministic-mode\n"
    found = moved(tmp_path, text, "0.18.2")
    (plan,) = found.plans
    assert not found.is_same_run and plan.refused
    assert any("NCCL_ALGO=Tree: " in line and "Ring adds in another order" in line for line in page.lines(plan))
    text = f"export TORCH_NCCL_DEBUG_INFO_TEMP_FILE=/tmp/x\n{TORCHRUN} {SMALL}\n"
    (plan,) = moved(tmp_path, text, "0.16.1").plans
    assert plan.is_same_run and "TORCH_NCCL_DEBUG_INFO_TEMP_FILE=/tmp/x: " in plan.told[0]
    assert not moved(tmp_path, text, "0.17.1").plans[0].told


LAUNCHED = {
    "one line": f"python -m torch.distributed.launch --nproc_per_node 2 --use_env pretrain_gpt.py {SMALL}\n",
    "continued": f"python3 -u -m torch.distributed.launch \\\n    --use-env \\\n    --nnodes 1 \\\n"
    f"    --nproc_per_node 2 \\\n    pretrain_gpt.py {SMALL}\n",
    "a variable": 'LAUNCHER="python -m torch.distributed.launch --nproc_per_node 2 --use_env"\n'
    f"$LAUNCHER pretrain_gpt.py {SMALL}\n",
    "an array": "LAUNCHER=(\n    python -m torch.distributed.launch  # as ever\n    --use_env\n"
    f"    --nproc_per_node 2\n)\n"
    f'"${{LAUNCHER[@]}}" pretrain_gpt.py {SMALL}\n',
    "without --use_env": f"python -m torch.distributed.launch --nproc_per_node 2 pretrain_gpt.py {SMALL}\n",
    "srun": f"srun --ntasks=1 bash -c 'python -m torch.distributed.launch --use_env pretrain_gpt.py {SMALL}'\n",
}


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("name", LAUNCHED)
def test_a_launcher_that_pytorch_has_deprecated(name: str, tmp_path: Path) -> None:
    found = moved(tmp_path, LAUNCHED[name], "0.18.2")
    assert found.is_same_run, found.not_done
    judge = by_bash.Judge(tmp_path)
    ((*before,),), ((*after,),) = judge.passed(LAUNCHED[name]), judge.passed(found.files[0].after)
    at = before.index("pretrain_gpt.py")
    front = [word for word in before[:at] if word not in ("--use_env", "--use-env")]
    wanted = ["torch.distributed.run" if word == "torch.distributed.launch" else word for word in front]
    assert after[: after.index("pretrain_gpt.py")] == wanted and "torch.distributed.run" in after


def test_a_program_with_another_name(tmp_path: Path) -> None:
    spec = "--spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec --hybrid-layer-pattern M-M*"
    mamba = f"torchrun /opt/Megatron-LM/pretrain_mamba.py {SMALL} {spec}\n".replace("--num-layers 2 ", "")
    found = moved(tmp_path, mamba, "0.17.1")
    assert "torchrun /opt/Megatron-LM/pretrain_hybrid.py " in found.files[0].after, found.plans[0].refused
    assert "pretrain_hybrid.py" not in moved(tmp_path, f"{TORCHRUN} {SMALL}\n", "0.17.1").files[0].after
