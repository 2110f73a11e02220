"""Which program a command line is for: one place decides, and every command says the same."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from small import SMALL_TEXT

import bridge_args
from bridge_args.audit.run import audit
from bridge_args.cli.main import main
from bridge_args.findings import Finding
from bridge_args.megatron_lm.programs import GPT, HYBRID, MAMBA, meaning_of
from bridge_args.script.command import read_command
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")


def about_the_program(front: str) -> list[Finding]:
    found = bridge_args.translate(f"{front} {SMALL_TEXT}".split(), world_size=8, megatron_lm="0.16.1").findings
    return [finding for finding in found if finding.kind in ("other-model", "other-program")]


@pytest.mark.parametrize(
    "front",
    [
        "torchrun --nproc-per-node 8 pretrain_bert.py",
        "python pretrain_t5.py",
        "python -m megatron.pretrain_retro",
        "python -mpretrain_ict",
        "python -u -m torch.distributed.run --nproc_per_node 8 -m megatron.pretrain_vlm",
        "srun --ntasks 8 numactl -N 0 python -u /opt/megatron/pretrain_vision_dino.py",
        "deepspeed --num_gpus 8 pretrain_vit.py",
        "accelerate launch --num_processes 8 examples/multimodal/train.py",
        "ft_launcher --nproc-per-node 8 examples/mimo/train.py",
        "torchrun tasks/main.py",
        "torchrun finetune_bert.py",
        "./wrap.sh python pretrain_vision_classify.py",
    ],
)
def test_another_kind_of_model_is_an_error(front: str) -> None:
    (finding,) = about_the_program(front)
    assert finding.level == "error"
    name = front.split()[-1].rsplit("/", 1)[-1].rsplit(".", 1)[-1].removeprefix("-m")
    assert "trains another kind of model" in finding.message
    assert (name if name != "py" else front.split()[-1]) in finding.message


@pytest.mark.parametrize(
    ("front", "taken_for"),
    [
        ("torchrun finetune.py", GPT),
        ("torchrun train_rl.py", GPT),
        ("torchrun tools/run_text_generation_server.py", GPT),
        ("torchrun tools/run_mamba_text_generation_server.py", MAMBA),
        ("torchrun pretrain_llama.py", GPT),
        ("torchrun -m my_fork.pretrain_qwen", GPT),
        ("torchrun examples/post_training/modelopt/finetune.py", GPT),
    ],
)
def test_other_names_are_a_warning_that_says_what_they_are_taken_for(front: str, taken_for: str) -> None:
    (finding,) = about_the_program(front)
    assert finding.level == "warning"
    assert f"is treated as {taken_for}; anything else it does is skipped" in finding.message


@pytest.mark.parametrize(
    ("front", "program"),
    [
        ("torchrun pretrain_gpt.py", GPT),
        ("python -m megatron.pretrain_gpt", GPT),
        ("torchrun /opt/pretrain_mamba.py", MAMBA),
        ("python -m megatron.pretrain_mamba", MAMBA),
        ("torchrun pretrain_hybrid.py", MAMBA),  # what 0.16 has of the two
        ("", GPT),
    ],
)
def test_our_programs_are_not_talked_about(front: str, program: str) -> None:
    assert about_the_program(front) == []
    made = bridge_args.translate(f"{front} {SMALL_TEXT}".split(), world_size=8, megatron_lm="0.16.1")
    assert made.program == program


@pytest.mark.parametrize("name", ["pretrain_mamba.py", "pretrain_hybrid.py"])
@pytest.mark.parametrize(("version", "program"), [("0.17.1", MAMBA), ("0.18.2", HYBRID), ("0.19.0", HYBRID)])
def test_hybrid_models_have_the_program_of_the_version(name: str, version: str, program: str) -> None:
    words = f"torchrun {name} {SMALL_TEXT} --hybrid-layer-pattern M*".split()
    assert bridge_args.translate(words, world_size=8, megatron_lm=version, bridge="0.6.2").program == program


def test_a_program_speaks_of_the_version() -> None:
    """Where nobody says one, and the flags are those of many."""
    words = [*f"torchrun pretrain_hybrid.py {SMALL_TEXT} --hybrid-layer-pattern M*".split()]
    t = translated(Source(read_command(words), None, ()), Asked(bridge="0.3.1"))
    assert (t.versions.megatron, t.program) == ("0.18.2", HYBRID)
    (assumed,) = [finding.message for finding in t.findings if finding.kind == "assumed-version"]
    assert "it has pretrain_hybrid.py and --hybrid-layer-pattern, which" in assumed


def test_what_a_caller_says_itself_is_not_told_to_it() -> None:
    words = f"torchrun finetune.py {SMALL_TEXT}".split()
    assert "other-program" in [finding.kind for finding in bridge_args.translate(words).findings]
    made = bridge_args.translate(words, program="pretrain_mamba.py", megatron_lm="0.16.1")
    assert made.program == MAMBA and "other-program" not in [finding.kind for finding in made.findings]


def test_the_place_is_that_of_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "bert.sh"
    script.write_text(f"export A=1\ntorchrun --nproc-per-node 8 \\\n  pretrain_bert.py {SMALL_TEXT}\n")
    with_bridge = ("validate", "rehearse") if find_spec("megatron") else ()  # else its absence is all they say
    for command in ("translate", "report", "launch", *with_bridge):
        assert main([command, str(script)]) == 1
        said = capsys.readouterr()
        assert f"{script}:3: pretrain_bert.py trains another kind of model" in " ".join(
            (said.out + said.err).split()
        ), command


@pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")
def test_every_program_of_a_checkout_is_known() -> None:
    """Each program of Megatron-LM that calls these is told of: as one for other models, or with what it does."""
    root = Path(CHECKOUT)
    starts = re.compile(r"initialize_megatron\(|(?<![\w.])pretrain\(")
    files = [
        file.relative_to(root)
        for file in sorted(root.rglob("*.py"))
        if file.relative_to(root).parts[0] not in ("megatron", "tests")
        and starts.search(file.read_text(encoding="utf-8", errors="replace"))
    ]
    assert len(files) > 20
    ours = {GPT, HYBRID}
    unknown = []
    for file in files:
        meaning = meaning_of(str(file))
        if not (meaning.model or meaning.beside) and file.name not in ours:
            unknown.append(str(file))
    assert unknown == []


# ---------------------------------------------------------------- an audit of a mixed repository


FOREIGN = {
    "accelerate.sh": "accelerate launch --num_processes 8 train_hf.py --model x\n",
    "torchrun.sh": "torchrun --nproc-per-node 8 train.py --epochs 3 --batch-size 4\n",
    "shared_names.sh": "torchrun train.py --lr 1e-3 --seed 1 --bf16\n",
    "deepspeed.sh": "deepspeed --num_gpus 8 run_clm.py --deepspeed ds.json --model_name_or_path gpt2 --bf16 --seed 3\n",
    "lightning.sh": "python -m lightning fit --trainer.devices 8 --config c.yaml\n",
    "hydra.sh": "python megatron_gpt_pretraining.py trainer.devices=8 model.num_layers=2\n",
    "other_pretraining.sh": "torchrun pretrain_bart.py --config_file x --epochs 3 --batch_size 3\n",
    "data.sh": "python tools/preprocess_data.py --input a --output-prefix b --workers 8 --append-eod\n",
    "convert.sh": "python tools/checkpoint/convert.py --model-type GPT --loader mcore --saver mcore --load-dir a\n",
    "files.sh": "cp pretrain_gpt.py /x\nsed -i s/a/b/ pretrain_gpt.py\nsudo pkill -f pretrain_gpt.py\ngit add .\n",
    "unread.sh": ". ./nowhere.sh\npython run.py --pretrained_model bert --pretrain_steps 3\n",
    "bert.sh": f"torchrun pretrain_bert.py {SMALL_TEXT}\n",
    "pod.yaml": "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: b}]}\n",
    "nemo.yaml": "trainer: {devices: 8}\nmodel: {num_layers: 2}\n",
    "helm.yaml": "{{ include }}\nname: {{ .Values.x }}\n",
    "Makefile": "all:\n\ttorchrun train.py\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_programs_of_others_are_no_errors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(FOREIGN[name])
    (tmp_path / "ours.sh").write_text(f"torchrun finetune_ours.py {SMALL_TEXT}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "."]) == 0
    lines = capsys.readouterr().out.split("\n")
    ours = "./ours.sh: finetune_ours.py is treated as pretrain_gpt.py"
    assert any(line.split() == ["ok", *ours.split()] for line in lines), lines
    said = [line for line in lines if f"./{name}" in line]
    assert all(line.startswith("-  ") for line in said) and len(said) == (name != "Makefile"), said


def test_a_folder_of_others_alone_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("accelerate.sh", "torchrun.sh"):
        (tmp_path / name).write_text(FOREIGN[name])
    assert main(["audit", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("not a Megatron-LM command") == 2
    assert main(["audit", str(tmp_path / "torchrun.sh")]) == 1  # this very file was to be translated


def test_misspelt_flags_do_not_make_a_program_foreign(tmp_path: Path) -> None:
    """Most options are enough; what is wrong with the others is told."""
    (tmp_path / "a.sh").write_text(f"torchrun my_train.py {SMALL_TEXT} --our-flag 3 --numlayers 4 --hidden 3\n")
    (tmp_path / "b.sh").write_text("torchrun pretrain_gpt.py --a 1 --b 2 --c 3 --d 4 --num-layers 2\n")
    (tmp_path / "c.sh").write_text(f"torchrun my_train.py {SMALL_TEXT} --checkpoint-activations --DDP-impl local\n")
    assert [entry["status"] for entry in audit([str(tmp_path)], Asked(), jobs=1)["commands"]] == ["errors"] * 3
