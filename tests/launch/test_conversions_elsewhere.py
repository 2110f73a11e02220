"""``bridge-args checkpoint`` with the parameters and the profiles of the steps that users know."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import pytest

from bridge_args.cli.checkpoints import NAMES, load
from bridge_args.cli.checkpoints._spelling import _OF_BRIDGE, PARAMETERS, reworded
from bridge_args.cli.main import main
from bridge_args.cli.parser import parser_of
from bridge_args.errors import WrongValue

FILE = str(Path(__file__).with_name("steps") / "env.toml")
NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (
            "import hf_model_id=/base megatron_path=/out torch_dtype=bfloat16 device_map=null trust_remote_code=false",
            "import /base --output /out --dtype bf16",
        ),
        (
            "import hf_model_id=/base megatron_path=/out dtype=float32 tp=1 ep=8",
            "import /base --output /out --dtype fp32",
        ),
        (
            "export megatron_path=/run/iter_0000100 hf_model_id=org/name hf_path=/out strict=true show_progress=true",
            "export /run/iter_0000100 --hf-model org/name --output /out",
        ),
        ("export /run hf_path=/out trust_remote_code=true", "export /run --output /out --trust-remote-code"),
        ("export /run -o /out --with partition=debug", "export /run -o /out --with partition=debug"),
        (
            "merge-lora backend=hf_peft lora_checkpoint=/adapter base_hf_path=/base output_hf_path=/o torch_dtype=auto",
            "merge-lora /adapter --backend hf_peft --base /base --output /o",
        ),
        (
            "merge-lora lora_checkpoint=/adapter base_megatron_path=/base hf_model_id=org/name output_megatron_path=/o "
            "output_hf_path=/hf export_hf=true cpu=true tp=1",
            "merge-lora /adapter --base-megatron /base --hf-model org/name --output /o --export-hf /hf --device cpu",
        ),
        ("inspect a=b", "inspect a=b"),
        # Hydra's quotes and signs, null for what is not set, and words in capitals
        (
            "import +hf_model_id='/a' megatron_path=\"/o=1\" trust_remote_code=TRUE device_map=None",
            "import /a --output /o=1 --trust-remote-code",
        ),
        # the value of an option has no name, and neither has a folder that is written as one
        ("export ./lr=3 --tokenizer tp=4 -o lr=1/out", "export ./lr=3 --tokenizer tp=4 -o lr=1/out"),
        # the whole table of a step, as its file has it
        (
            "merge-lora backend=auto lora_checkpoint=/a base_hf_path=/b output_hf_path=/o hf_model_id=null "
            "export_hf=true upstream_script=/x hf_model_path=null base_megatron_path=null output_megatron_path=/m "
            "cpu=true debug=false",
            "merge-lora /a --backend auto --base /b --output /o --device cpu",
        ),
        # flags beside words
        (
            "merge-lora lora_checkpoint=/a --base-megatron /b hf_model_id=/h output_megatron_path=/o output_hf_path=/x",
            "merge-lora /a --base-megatron /b --hf-model /h --output /o --export-hf /x",
        ),
        (
            "merge-lora lora_checkpoint=/a pretrained=/b hf_model_id=/h output_megatron_path=/o export_hf=False",
            "merge-lora /a --base-megatron /b --output /o",
        ),
        (
            "import hf_model_id=/a megatron_path=/o torch_dtype=bfloat16 dtype=bf16",
            "import /a --output /o --dtype bf16",
        ),
        (
            "export /r hf_path=/o run.env.nodes=1 --executor slurm",
            "export /r --output /o --with nodes=1 --executor slurm",
        ),
    ],
)
def test_parameters_are_flags(words: str, same: str) -> None:
    assert reworded(["checkpoint", *words.split()]) == ["checkpoint", *same.split()]
    if "inspect" not in words:
        parser_of(["checkpoint"]).parse_args(["checkpoint", *same.split()])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export hf_pth=/out", "export has no parameter hf_pth; did you mean hf_path? It has distributed, "),
        ("export megatron-path=/out", "did you mean megatron_path?"),
        ("export lr=0.1", "a folder that is called so is ./lr=0.1"),
        ("export megatron_path=/a megatron_path=/b", "megatron_path=/a and megatron_path=/b say two things"),
        ("import dtype=float32 --dtype bf16", "dtype=float32 and --dtype bf16 say two things"),
        ("import --trust-remote-code trust_remote_code=false", "trust_remote_code=false say two things"),
        ("merge-lora pretrained=/b export_hf=true", "export_hf=true needs the folder"),
        ("export strict=false", "strict=false cannot be had here"),
        ("import device_map=auto", "device_map=auto cannot be had here"),
        ("import trust_remote_code=maybe", "trust_remote_code is true or false, not 'maybe'"),
    ],
)
def test_what_cannot_be_is_told(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WrongValue) as refused:
        reworded(["checkpoint", *words.split()])
    assert said in str(refused.value)
    assert main(["checkpoint", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_what_changes_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    reworded("checkpoint export /run hf_path=/out tp=4".split())
    assert "tp=4 changes nothing" in capsys.readouterr().err


def test_every_parameter_is_an_option_of_its_action() -> None:
    from bridge_args.cli.options import commands_in

    actions = commands_in(commands_in(parser_of(["checkpoint"]))["checkpoint"])
    for action, parameters in PARAMETERS.items():
        flags = {flag for option in actions[action]._actions for flag in option.option_strings}
        bridge = _OF_BRIDGE.values() if action == "merge-lora" else ()
        assert {means.flag for means in (*parameters.values(), *bridge) if means.flag} <= flags, action
        assert load(action).may_be_a_job
    assert PARAMETERS.keys() == {name for name in NAMES if load(name).may_be_a_job}


@NEMO_RUN
def test_a_job_runs_the_words_without_those_that_made_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    words = [
        "checkpoint",
        "export",
        "megatron_path=/run/iter_0000007",
        "hf_path=/my out",
        "--batch",
        "slurm_convert_model",
    ]
    more = [
        "--env-file",
        FILE,
        "--with=partition=debug",
        "--with",
        "time=5",
        "--dry-run",
        "--executor=slurm",
        "--no-smoke",
    ]
    assert main([*words, *more]) == 0
    text = capsys.readouterr().out
    assert shlex.join(
        ["bridge-args", "checkpoint", "export", "/run/iter_0000007", "--output", "/my out", "--no-smoke"]
    ) in (text.replace("'\"'\"'", "'"))
    assert "#SBATCH --partition=debug" in text and "#SBATCH --time=5" in text


def test_a_dry_run_needs_an_executor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "export", "/run", "-o", "/out", "--dry-run"]) == 1
    assert "name one by --executor or --profile" in capsys.readouterr().err


def test_a_profile_of_this_machine_runs_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env.toml").write_text('[mine]\nexecutor = "local"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["checkpoint", "export", "nowhere", "-o", "out", "--profile", "mine"]) == 1
    said = capsys.readouterr().err  # the command's own words, not those of a dry run
    assert "nowhere does not exist" in said or "is not installed" in said
    assert main(["checkpoint", "export", "nowhere", "-o", "out", "--env-file", "env.toml"]) == 1
    assert "nothing says where it is to run" in capsys.readouterr().err
