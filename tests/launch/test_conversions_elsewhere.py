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
    ],
)
def test_parameters_are_flags(words: str, same: str) -> None:
    assert reworded(["checkpoint", *words.split()]) == ["checkpoint", *same.split()]
    if "inspect" not in words:
        parser_of(["checkpoint"]).parse_args(["checkpoint", *same.split()])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export hf_pth=/out", "export has no parameter hf_pth; it has distributed, "),
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
