"""Run configs that are meant to do harm, and disks that do not take what is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge_args import files as writing
from bridge_args.cli.main import main

TRON = "_target_: nemo.tron.config.ConfigContainer\n"
BRIDGE = "_target_: megatron.bridge.training.config.ConfigContainer\n"
MODEL = "model:\n  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n"
FILES = {
    "called": f"{BRIDGE}{MODEL}  init_method: {{_target_: os.system, _args_: ['touch harm']}}\n",
    "named": f"{BRIDGE}{MODEL}  activation_func: {{_target_: os.system, _call_: false}}\n",
    "loaded": f"{BRIDGE}{MODEL}  vocab_size: {{_target_: torch.load, _args_: [harm]}}\n",
    "core's own": f"{BRIDGE}{MODEL}  vocab_size: {{_target_: megatron.core.utils.get_attr, _args_: [harm]}}\n",
    "no text": f"{BRIDGE}{MODEL}  vocab_size: {{_target_: [os.system]}}\n",
    "the model": f"{BRIDGE}model: {{_target_: subprocess.Popen, args: touch harm}}\n",
    "the lists": (
        f"{BRIDGE}{MODEL}  timers: {{_target_: megatron.bridge.utils.instantiate_utils.Register, _args_: [os]}}\n"
    ),
    "a step that is called": (
        f"{TRON}model_config: {{_target_: nemo.collections.llm.gpt.model.base.GPTConfig, "
        "forward_step_fn: {_target_: os.system, _args_: [touch harm]}}\n"
    ),
    "a tag": f"{BRIDGE}{MODEL}  vocab_size: !!python/object/apply:os.system ['touch harm']\n",
    "an object": f"{BRIDGE}model: !!python/object:os.environ {{}}\n",
    "deep": f"{BRIDGE}model: {'[' * 5000}{']' * 5000}\n",
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{two}: &{two} [{','.join(['*' + one] * 10)}]\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + BRIDGE,
    "a list": "- 1\n",
    "nothing": "",
    "bytes": "\udcff",
    "another program's": "_target_: my_project.Config\nmodel: {}\n",
    "no sections": "a: 1\n",
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run_config.yaml"
    file.write_bytes(FILES[name].encode("utf-8", "surrogateescape"))
    before = file.read_bytes()
    for more in (["--in-place"], ["-o", str(tmp_path / "out.yaml")], ["--dry-run"], []):
        assert main(["migrate", "run-config", str(file), "--to-bridge", "0.6.2", *more]) == 1
        streams = capsys.readouterr()
        assert streams.out == "" and streams.err.strip() and "fault of bridge-args" not in streams.err
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_each_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run_config.yaml"
    list_of_them = "  hooks:\n    - 1\n    - _args_: [x]\n      _target_: os.system\n"
    file.write_text(f"{BRIDGE}{MODEL}{list_of_them}train:\n  a: {{b: {{_target_: subprocess.Popen}}}}\n")
    assert main(["migrate", "run-config", str(file), "--to-bridge", "0.6.2"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{file}:7: model.hooks[1] calls 'os.system'")
    assert second.startswith(f"{file}:9: train.a.b calls 'subprocess.Popen'")


def tron_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run_config.yaml"
    file.write_text(f"{TRON}rng_config: {{_target_: nemo.tron.config.RNGConfig, seed: 7}}\n", encoding="utf-8")
    return file


def migrate(path: Path, *more: str) -> int:
    return main(["migrate", "run-config", str(path), "--to-bridge", "0.3.1", *more])


def test_a_function_of_the_users_own_that_is_not_carried_over_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run_config.yaml"
    model = "{_target_: nemo.collections.llm.gpt.model.base.GPTConfig, data_step_fn: {_target_: mine.f, _call_: false}}"
    file.write_text(f"{TRON}model_config: {model}\n", encoding="utf-8")
    assert migrate(file, "--report", "text") == 0
    assert "model_config.data_step_fn: mine.f is left out: Bridge has a step of its own" in capsys.readouterr().out


def test_one_bad_file_of_a_run_keeps_all_as_they_are(tmp_path: Path) -> None:
    good = tron_file(tmp_path / "iter_0000001")
    bad = tron_file(tmp_path / "iter_0000002")
    bad.write_text(FILES["called"], encoding="utf-8")
    before = good.read_bytes()
    assert migrate(tmp_path, "--in-place") == 1
    assert good.read_bytes() == before and not list(tmp_path.rglob("*.bak"))


def test_a_link_stays_one_and_its_file_is_written_once(tmp_path: Path) -> None:
    real = tron_file(tmp_path / "iter_0000001")
    link = tmp_path / "iter_0000002" / "run_config.yaml"
    link.parent.mkdir()
    link.symlink_to(real)
    before = real.read_bytes()
    assert migrate(tmp_path, "--in-place") == 0
    assert link.is_symlink() and real.read_bytes() != before
    assert [path.read_bytes() for path in tmp_path.rglob("*.bak*")] == [before]


def test_an_older_backup_is_never_written_over(tmp_path: Path) -> None:
    file = tron_file(tmp_path)
    old = tmp_path / "run_config.yaml.bak"
    old.write_text("what was here before\n", encoding="utf-8")
    before = file.read_bytes()
    assert migrate(file, "--in-place") == 0
    assert old.read_text(encoding="utf-8") == "what was here before\n"
    assert (tmp_path / "run_config.yaml.bak.1").read_bytes() == before


def test_the_file_that_is_read_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tron_file(tmp_path)
    before = file.read_bytes()
    assert migrate(file, "-o", str(file)) == 1
    assert "does not write over what it reads" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_several_files_go_below_a_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        tron_file(tmp_path / "run" / f"iter_{number:07}")
    assert migrate(tmp_path / "run") == 1, "several files are no one text"
    assert migrate(tmp_path / "run", "-o", str(tmp_path / "out")) == 0
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.yaml"))
    assert found == ["iter_0000001/run_config.yaml", "iter_0000002/run_config.yaml"]
    assert yaml.safe_load((tmp_path / "out" / found[0]).read_text())["rng"]["seed"] == 7


@pytest.mark.parametrize("at", ["backup", "file"])
def test_a_full_disk_leaves_the_file_as_it_was(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tron_file(tmp_path)
    before = file.read_bytes()
    calls = []

    def full(descriptor: int, *more: Any) -> None:
        calls.append(descriptor)
        if len(calls) == (1 if at == "backup" else 2):
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(writing.os, "fsync", full)
    assert migrate(file, "--in-place") == 1
    assert "No space left on device; it is as it was" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".bridge-args")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tron_file(tmp_path / "kept")
    before = file.read_bytes()
    file.parent.chmod(0o500)
    try:
        assert migrate(file, "--in-place") == 1
        assert "cannot be written: Permission denied; it is as it was" in capsys.readouterr().err
        assert file.read_bytes() == before
    finally:
        file.parent.chmod(0o700)
