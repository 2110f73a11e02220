"""Manifests of Kubernetes: which command a job runs, its variables, on how many GPUs, and where it is written."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from small import SMALL, SMALL_TEXT

from bridge_args.audit.examine import examine
from bridge_args.cli.main import main
from bridge_args.source.read import from_text
from bridge_args.source.source import Source, SourceError
from bridge_args.steps import Asked, translated

LISTED = ", ".join(f'"{word}"' for word in SMALL)


def pod(command: str, more: str = "") -> str:
    """A pod template with one container."""
    container = (
        f"- name: main\n  image: registry.example/m:1\n{textwrap.indent(more, '  ')}{textwrap.indent(command, '  ')}"
    )
    return f"template:\n  spec:\n    containers:\n{textwrap.indent(container, '    ')}"


def manifest(kind: str, spec: str, version: str = "kubeflow.org/v1") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: gpt}}\nspec:\n{textwrap.indent(spec, '  ')}\n"


def pytorch_job(workers: str, master: str = "", head: str = 'nprocPerNode: "8"') -> str:
    text = f"{head}\npytorchReplicaSpecs:\n"
    if master:
        text += f"  Master:\n    replicas: 1\n{textwrap.indent(master, '    ')}\n"
    return manifest("PyTorchJob", f"{text}  Worker:\n    replicas: 3\n{textwrap.indent(workers, '    ')}")


def source(text: str, number: int | None = None, **variables: str) -> Source:
    return from_text(text, "job.yaml", variables, number=number)


def world_size(text: str) -> int:
    return translated(source(text), Asked()).world_size


def words(*launcher: str) -> str:
    """A command that is a list, with a launcher in front of the program."""
    return f"command: [{', '.join(launcher)}, pretrain_gpt.py, {LISTED}]\n"


DIRECT = f'command: [torchrun, /w/pretrain_gpt.py]\nargs: [{LISTED}, "--exit-interval", "$(STEPS)"]\n'
ENV = "env:\n- {name: STEPS, value: '7'}\n- {name: CUDA_DEVICE_MAX_CONNECTIONS, value: '1'}\n"
SCRIPT = f"""export N=3
torchrun --nproc_per_node 8 pretrain_gpt.py \\
    {SMALL_TEXT} \\
    --save $DIR --exit-interval $N
"""
SHELL = f"command:\n- /bin/bash\n- -c\n- |\n{textwrap.indent(SCRIPT, '  ')}"
GPUS = "resources: {limits: {nvidia.com/gpu: 4}}\n"
TRAINER = f"trainer:\n  numNodes: 2\n  numProcPerNode: 4\n  {words('torchrun')}"
VOLCANO = textwrap.indent(pod(words("torchrun", "--nnodes", "'2'", "--nproc_per_node", "'8'")), "  ")
LAUNCHER = textwrap.indent(pod(words("mpirun", "-np", "'16'", "python")), "    ")


def test_command_and_args_are_a_command_line_and_the_operator_says_how_many_ranks() -> None:
    found = source(pytorch_job(pod(DIRECT, ENV), pod(DIRECT, ENV)))
    texts = [word.text for word in found.command.argv]
    assert texts == [*SMALL, "--exit-interval", "7"]
    assert found.environment is not None and found.environment["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"
    assert world_size(pytorch_job(pod(DIRECT, ENV), pod(DIRECT, ENV))) == 32  # four pods of eight
    assert world_size(pytorch_job(pod(DIRECT, ENV))) == 24


def test_words_have_their_line() -> None:
    text = pytorch_job(pod(DIRECT, ENV))
    (place,) = {word.place for word in source(text).command.argv if word.text == "--num-layers"}
    assert place is not None
    assert text.splitlines()[place.line - 1][place.column - 1 :].startswith('"--num-layers"')


def test_the_script_of_a_shell_is_read_as_scripts_are() -> None:
    text = pytorch_job(pod(SHELL, "env: [{name: DIR, value: /ckpt}]\n"))
    found = source(text)
    texts = [word.text for word in found.command.argv]
    assert texts[-4:] == ["--save", "/ckpt", "--exit-interval", "3"]
    place = found.command.argv[-4].place
    assert place is not None and "--save $DIR" in text.splitlines()[place.line - 1]
    assert world_size(text) == 24  # torchrun takes PET_NNODES, which the operator sets


def test_a_script_of_a_config_map_is_found_where_it_is_mounted() -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: scripts}\ndata:\n  go.sh: |\n"
    config += f"    torchrun --nproc_per_node $1 pretrain_gpt.py {SMALL_TEXT}\n---\n"
    volumes = "volumes: [{name: s, configMap: {name: scripts}}]\n"
    job = pytorch_job(
        pod("command: [bash, /s/go.sh, '4']\nvolumeMounts: [{name: s, mountPath: /s}]\n").replace(
            "    containers:", f"    {volumes}    containers:"
        )
    )
    found = source(config + job)
    assert found.command.launcher_options["nproc_per_node"] == 4
    place = found.command.argv[0].place
    assert place is not None and place.line == 6


def test_a_value_from_elsewhere_stays_a_variable() -> None:
    secret = "env: [{name: DIR, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n"
    direct = (
        f"command: [torchrun, pretrain_gpt.py, {LISTED}, --save, $(DIR), --load, $(NOWHERE), --exit-interval, '5']\n"
    )
    words = {word.text: word for word in source(pytorch_job(pod(direct, secret))).command.argv}
    assert words["${DIR}"].unresolved == ("DIR",)
    assert words["$(NOWHERE)"].unresolved == ()  # what is not set stays as it is written
    in_shell = source(pytorch_job(pod(SHELL, secret))).command.argv
    assert [word.unresolved for word in in_shell if "DIR" in word.text] == [("DIR",)]


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        (manifest("TrainJob", TRAINER, "trainer.kubeflow.org/v1alpha1"), 8),
        (
            manifest("Job", f"parallelism: 2\n{pod(words('torchrun', '--nnodes=2', '--nproc_per_node=gpu'), GPUS)}"),
            8,
        ),
        (manifest("Job", f"tasks:\n- replicas: 2\n{VOLCANO}", "batch.volcano.sh/v1alpha1"), 16),
        (manifest("MPIJob", f"mpiReplicaSpecs:\n  Launcher:\n    replicas: 1\n{LAUNCHER}"), 16),
        (pytorch_job(pod(words("python")), head="runPolicy: {}"), 3),
        ("apiVersion: v1\nkind: List\nitems:\n- " + textwrap.indent(pytorch_job(pod(DIRECT, ENV)), "  ").strip(), 24),
    ],
    ids=["TrainJob", "indexed Job", "Volcano", "MPIJob", "a process a pod", "List"],
)
def test_how_many_ranks_a_job_has(text: str, ranks: int) -> None:
    assert world_size(text) == ranks


def test_two_trainings_in_a_file_are_told_apart() -> None:
    other = DIRECT.replace('"--num-layers", "2"', '"--num-layers", "4"')
    both = pytorch_job(pod(DIRECT, ENV)) + "---\n" + pytorch_job(pod(other, ENV))
    with pytest.raises(SourceError, match="starts Megatron-LM 2 times") as several:
        source(both)
    assert several.value.commands == 2
    assert [word.text for word in source(both, 2).command.argv][1] == "4"


def test_manifests_of_others_are_none_of_ours(tmp_path: Path) -> None:
    texts = {
        "service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
        "web.yaml": manifest("Deployment", "replicas: 3\n" + pod("command: [nginx, -g, daemon off;]\n"), "apps/v1"),
        "hf.yaml": pytorch_job(pod("command: [torchrun, train.py, --epochs, '3']\n")),
        "shell.yaml": pytorch_job(pod("command: [bash, -c, 'python -m http.server']\n")),
        "mounted.yaml": pytorch_job(pod("command: [bash, /elsewhere/train.sh]\n")),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert [entry["status"] for entry in examine(str(tmp_path / name), Asked())] == ["not-megatron-lm"], name


def test_aliases_are_not_multiplied() -> None:
    text = "apiVersion: v1\nkind: Pod\na0: &a0 [{}]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    with pytest.raises(SourceError, match="job.yaml:.*more than 50000 parts"):
        source(text)


def test_a_manifest_on_standard_input_is_known_by_its_first_line() -> None:
    text = "# a job\n---\n" + pytorch_job(pod(DIRECT, ENV))
    assert from_text(text, "<stdin>").command.program == "/w/pretrain_gpt.py"
    script = f"torchrun pretrain_gpt.py {SMALL_TEXT}\ncat <<EOF\napiVersion: v1\nkind: Pod\nEOF\n"
    assert from_text(script, "<stdin>").command.program == "pretrain_gpt.py"


def test_launch_does_not_take_it_for_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(pytorch_job(pod(DIRECT, ENV)), encoding="utf-8")
    assert main(["launch", str(file), "--dry-run"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "is a manifest of Kubernetes" in said.err and "-m bridge_args.pretrain_gpt" in said.err
