"""Which version a command line is for: what a script says, what the flags say, and the default."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import SMALL_TEXT

from bridge_args.cli.main import main
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.pairs.detect import RELEASED, Detected, detect, hints_in, version_with

DEFAULT = "0.16.1"
PLAIN = ["--num-layers", "2", "--hidden-size", "64"]


def only_in(version: str) -> str:
    """A flag that one version has, and the default has not."""
    ours, default = catalogs.load(version).by_flag, catalogs.load(DEFAULT).by_flag
    others = [catalogs.load(other).by_flag for other in catalogs.versions() if other != version]
    return next(flag for flag in ours if flag not in default and not any(flag in other for other in others))


def test_the_default_where_nothing_speaks_against_it() -> None:
    assert detect(PLAIN, DEFAULT) == Detected(DEFAULT, "")
    assert detect([], DEFAULT) == Detected(DEFAULT, "")


@pytest.mark.parametrize("version", ["0.19.0"])
def test_flags_that_the_default_lacks(version: str) -> None:
    flag = only_in(version)
    assert detect([*PLAIN, flag, "1"], DEFAULT) == Detected(version, f"it has {flag}, which {DEFAULT} does not have")


def test_the_nearest_of_several_versions() -> None:
    default = catalogs.load(DEFAULT).by_flag
    newer = next(
        f for f in catalogs.load("0.17.1").by_flag if f not in default and f in catalogs.load("0.19.0").by_flag
    )
    older = next(
        f for f in catalogs.load("0.15.3").by_flag if f not in default and f in catalogs.load("0.12.3").by_flag
    )
    assert detect([newer], DEFAULT).version == "0.17.1"
    assert detect([older], DEFAULT).version == "0.15.3"


def test_a_misspelt_flag_says_nothing() -> None:
    assert detect([*PLAIN, "--num-layer", "2"], DEFAULT) == Detected(DEFAULT, "")
    flag = only_in("0.19.0")
    assert detect(["--num-layer", flag], DEFAULT).version == "0.19.0"


def test_flags_that_no_version_has_together() -> None:
    old = next(flag for flag in catalogs.load("0.11.0").by_flag if flag not in catalogs.load("0.19.0").by_flag)
    version, why = detect([old, only_in("0.19.0")], DEFAULT)
    assert (version, why) == (DEFAULT, f"no version has all of the flags; {DEFAULT} is the default")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("git checkout core_v0.14.0", "0.14.0"),
        ("git clone -b core_r0.13.0 https://github.com/NVIDIA/Megatron-LM", "0.13.1"),
        ("pip install megatron-core==0.15.0", "0.15.3"),
        ("pip install 'megatron_core~=0.12.2'", "0.12.3"),
        ("# for Megatron-LM v0.14", "0.14.0"),
        ("cd /opt/Megatron-LM-core_v0.17.0", "0.17.1"),
    ],
)
def test_a_script_names_its_version(line: str, version: str) -> None:
    hints = list(hints_in(f"#!/bin/bash\n{line}\n"))
    assert [(hint.version, hint.line, hint.sure) for hint in hints] == [(version, 2, True)]
    found, why = detect(PLAIN, DEFAULT, f"#!/bin/bash\n{line}\n", "train.sh")
    assert found == version
    assert why.startswith("train.sh:2 says ")


@pytest.mark.parametrize(
    "line", ["# Megatron-LM 7.5 GB", "core_v9.1", "--lr 0.14", "apex 0.1", "core_v0.3.0", "x = 0.16.1"]
)
def test_what_names_no_version(line: str) -> None:
    assert list(hints_in(line)) == []


def test_a_named_version_without_the_flags_does_not_count() -> None:
    flag = only_in("0.19.0")
    version, why = detect([flag], DEFAULT, "git checkout core_v0.14.0", "train.sh")
    assert version == "0.19.0"
    assert flag in why


def test_a_container_decides_between_versions_that_fit() -> None:
    default = catalogs.load(DEFAULT).by_flag
    fitting = ("0.12.3", "0.13.1", "0.14.0", "0.15.3")
    flag = next(
        flag
        for flag in catalogs.load("0.12.3").by_flag
        if flag not in default and all(flag in catalogs.load(version).by_flag for version in fitting)
    )
    version, why = detect([flag], DEFAULT, "srun --container-image nvcr.io#nvidia/pytorch:25.09-py3\n", "train.sh")
    assert version == "0.13.1"
    assert "train.sh:1 says nvcr.io#nvidia/pytorch:25.09-py3" in why


def test_a_container_does_not_overrule_flags_that_fit_the_default() -> None:
    version, why = detect(PLAIN, DEFAULT, "docker run nvcr.io/nvidia/pytorch:24.01-py3\n", "train.sh")
    assert version == DEFAULT
    assert why == "it has all of the flags; nvcr.io/nvidia/pytorch:24.01-py3 at train.sh:1 is from the time of 0.11.0"


def test_every_catalog_has_a_release_month() -> None:
    numbered = [version for version in catalogs.versions() if version[0].isdigit()]
    assert [version.rpartition(".")[0] for version in numbered] == list(RELEASED)
    assert sorted(RELEASED.values()) == list(RELEASED.values())


@pytest.mark.parametrize("version", catalogs.versions())
def test_names_of_a_saved_namespace(version: str) -> None:
    names = {
        *catalogs.load(version).defaults,
        "rank",
        "padded_vocab_size",
        "consumed_train_samples",
        "data_parallel_size",
    }
    assert version_with(names).version == version


def test_the_command_line_says_which_version_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        f"#!/bin/bash\n# Megatron-LM core_v0.15.3\ntorchrun --nproc-per-node 1 pretrain_gpt.py {SMALL_TEXT}\n"
    )
    assert main(["translate", str(script)]) == 0
    out, err = capsys.readouterr()
    assert f"note: Megatron-LM 0.15.3 is assumed: {script}:2 says" in err
    assert "set another with --megatron-lm VERSION" in err
    assert "from a Megatron-LM 0.15.3 command line" in out
    assert main(["translate", "--megatron-lm", "0.16", str(script)]) == 0
    assert "is assumed: " not in capsys.readouterr().err


def test_a_program_that_not_every_version_has_speaks_too() -> None:
    """What ``launch`` and the drop-in ask, which have no script."""
    assert detect(["--lr", "1"], "0.16.1", program="pretrain_hybrid.py").version == "0.18.2"
    assert detect(["--lr", "1"], "0.16.1", program="pretrain_mamba.py").version == "0.16.1"
    assert detect(["--lr", "1"], "0.19.0", program="pretrain_hybrid.py").version == "0.19.0"
