"""Conversions as jobs: profiles as OmegaConf reads them, jobs as nemo-run's own classes make them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge_args.errors import UserError, WrongValue
from bridge_args.launch import executors, profiles, steps
from bridge_args.launch.executors._nemo_run import NemoRunMissing
from bridge_args.launch.work import Step

HERE = Path(__file__).with_name("steps")
FILE = HERE / "env.toml"
ENV = {
    "USER": "ada",
    "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz0123456789",
    "DGXCLOUD_CLIENT_SECRET": "q8Zr-77-secret-of-the-cloud",
    "PATH": "/usr/bin:/bin",
}
WORDS = (
    "bridge-args",
    "checkpoint",
    "export",
    "/data/run/iter_0000100",
    "--hf-model",
    "/data/my base",
    "-o",
    "/data/out",
)
NEMO_RUN = pytest.mark.skipif(importlib.util.find_spec("nemo_run") is None, reason="nemo_run is not installed")


def started(
    executor: str | None, profile: str | None = None, more: Sequence[str] = (), words: Sequence[str] = WORDS
) -> tuple[str, list[str]]:
    """What a dry run writes, and what is said."""
    written: list[str] = []
    said: list[str] = []
    found = profiles.asked(profile, executor, str(FILE), ENV)
    code = steps.start(
        "checkpoint-export",
        words,
        found,
        steps.settings_of(more),
        (),
        True,
        ENV,
        written.append,
        lambda one: said.append(str(one)),
    )
    assert code == 0
    return "".join(written), said


@NEMO_RUN
@pytest.mark.parametrize("executor", ["slurm", "lepton", "dgxcloud", "kubernetes"])
def test_the_job_is_the_one_on_record(executor: str, pytestconfig: pytest.Config) -> None:
    """With the profile that conversions share; what is left out is part of it."""
    text, said = started(executor)
    found = text + "".join(f"# said: {line}\n" for line in said)
    recorded = HERE / f"{executor}.expected"
    if pytestconfig.getoption("--update-cases"):
        recorded.write_text(found, encoding="utf-8")
    assert found == recorded.read_text(encoding="utf-8")
    for name in ("HF_TOKEN", "DGXCLOUD_CLIENT_SECRET"):
        assert ENV[name] not in found


@NEMO_RUN
def test_bash_reads_the_batch_file_and_runs_the_words(tmp_path: Path) -> None:
    """With srun, pip and bridge-args that say what they were given."""
    text, _ = started("slurm", more=["container_image="])
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
    for name, body in {
        "srun": _SRUN,
        "pip": ":",
        "scontrol": "echo localhost",
        "bridge-args": 'printf "%s\\n" "$GREETING" "$HF_TOKEN" "$@" > "$OUT"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {**ENV, "PATH": f"{tmp_path}:{ENV['PATH']}", "OUT": str(tmp_path / "told"), "SLURM_JOB_NODELIST": "a"}
    env |= {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    assert ENV["HF_TOKEN"] not in text
    done = subprocess.run(["bash"], input=text, text=True, env=env, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "told").is_file(), done.stderr
    assert ENV["HF_TOKEN"] not in done.stdout + done.stderr
    assert (tmp_path / "told").read_text().splitlines() == ["it's here", ENV["HF_TOKEN"], *WORDS[1:]]


_SRUN = """# The command is what stands behind the options; all of these have = or take one word.
while [[ $1 == -* ]]; do
    case $1 in
        *=*|--no-*|--overlap|--wait*|--kill*) shift ;;
        *) shift 2 ;;
    esac
done
exec "$@"
"""


@NEMO_RUN
def test_a_setting_of_the_command_counts_more(tmp_path: Path) -> None:
    text, said = started("slurm", more=["partition=debug", "nodes=4", "colour=red", "exclusive=true"])
    assert "#SBATCH --partition=debug" in text and "#SBATCH --exclusive" in text and "#SBATCH --nodes=1" in text
    assert any("nodes 4" in line for line in said) and any("colour" in line for line in said)


@NEMO_RUN
def test_what_a_cloud_lacks_is_told() -> None:
    with pytest.raises(WrongValue, match="the profile lacks base_url"):
        steps.start("x", WORDS, profiles.Profile(None, "dgxcloud", {}), {}, (), True, ENV, print, print)
    with pytest.raises(WrongValue, match="its whole path"):
        started("lepton", words=(*WORDS[:3], "../run"))


LEPTON = {"container_image": "i", "nemo_run_dir": "/n", "mounts": [{"path": "/a"}]}


@NEMO_RUN
@pytest.mark.parametrize(
    ("executor", "settings", "said"),
    [
        ("lepton", {**LEPTON, "gpus_per_node": "many"}, "gpus_per_node of the profile is no whole number"),
        ("lepton", {**LEPTON, "mounts": "/a:/b"}, "mounts of the profile is no list"),
        ("lepton", {**LEPTON, "env_vars": {"A": {"b": 1}}}, "env_vars.A of the profile is no text"),
        ("kubernetes", {"namespace": "a"}, "the profile lacks image"),
        ("slurm", {"account": "a\n#SBATCH --uid=0"}, "account of the profile has more than one line"),
        (
            "slurm",
            {"startup_commands": [f"export HF_TOKEN={ENV['HF_TOKEN']}"]},
            "startup_commands of the profile states",
        ),
        ("slurm", {"comment": ENV["HF_TOKEN"]}, "comment of the profile states a secret"),
    ],
)
def test_a_setting_that_cannot_be_is_told(executor: str, settings: dict[str, Any], said: str) -> None:
    found = profiles.Profile(None, executor, settings)
    with pytest.raises(WrongValue, match=said) as refused:
        steps.start("x", WORDS, found, {}, (), True, ENV, print, print)
    assert ENV["HF_TOKEN"] not in str(refused.value)


@NEMO_RUN
def test_nodes_that_do_not_count_are_told_on_a_cloud_too() -> None:
    said: list[object] = []
    steps.start(
        "x", WORDS, profiles.Profile(None, "lepton", {**LEPTON, "nodes": 4}), {}, (), True, ENV, print, said.append
    )
    assert "nodes 4 of the profile counts as 1" in str(said)


@NEMO_RUN
def test_a_path_is_whole_where_the_job_sees_another_folder() -> None:
    with pytest.raises(WrongValue, match="^out is a path of this folder"):
        steps.start("x", WORDS, profiles.Profile(None, "lepton", LEPTON), {}, ("/run", "out"), True, ENV, print, print)


@NEMO_RUN
def test_sbatch_gets_the_secrets_of_the_profile_and_the_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that stand in a variable by another name, or inside of another text."""
    address = "postgres://me:pw12345678@host/db"
    (tmp_path / "sbatch").write_text('#!/bin/bash\nprintf "%s\\n" "$HF_TOKEN" "$DB_URL" > told; echo 7\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    settings = {"env_vars": {"HF_TOKEN": "hf_of_the_profile_0123456789", "DB_URL": address}}
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    written: list[str] = []
    assert (
        steps.start("x", WORDS, profiles.Profile(None, "slurm", settings), {}, (), False, env, written.append, print)
        == 0
    )
    assert (tmp_path / "told").read_text().split() == ["hf_of_the_profile_0123456789", address]
    text = (tmp_path / "x.bridge.sbatch").read_text()
    assert "of_the_profile" not in text and "pw12345678" not in text


@NEMO_RUN
@pytest.mark.skipif(importlib.util.find_spec("leptonai") is not None, reason="the client of Lepton is installed")
def test_a_client_that_is_missing_is_told() -> None:
    found = profiles.asked(None, "lepton", str(FILE), ENV)
    with pytest.raises(NemoRunMissing, match="leptonai"):
        steps.start("x", WORDS, found, {}, (), False, ENV, print, print)


@NEMO_RUN
@pytest.mark.skipif(importlib.util.find_spec("torchx") is None, reason="torchx is not installed")
def test_an_experiment_of_nemo_run_runs_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is submitted to a cloud, submitted to nemo-run's executor for this machine."""
    from bridge_args.launch.executors import _cloud

    monkeypatch.setenv("NEMORUN_HOME", str(tmp_path / "home"))
    local = _cloud.Cloud("LocalExecutor", "local", {}, ("requests", ""))
    said: list[str] = []
    step = Step(
        "tiny", ("touch", str(tmp_path / "a file")), {}, (), False, ENV, print, lambda one: said.append(str(one))
    )
    monkeypatch.setattr(_cloud, "DETACHED", False)
    assert _cloud.start(local, step) == 0
    assert (tmp_path / "a file").exists() and said[-1] == "submitted tiny"


def test_there_is_no_training_on_a_cloud() -> None:
    with pytest.raises(WrongValue, match="no training on lepton"):
        executors.load("lepton").read(None, None, {})


# Profiles -------------------------------------------------------------------------------------------------------------


def test_profiles_are_what_omegaconf_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    tomllib = pytest.importorskip("tomllib")
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    tables = tomllib.loads(FILE.read_text())
    for name in ("slurm_base", "lepton_convert_model", "dgxcloud_convert_model", "kubernetes_convert_model"):
        asked: Any = omegaconf.OmegaConf.to_container(omegaconf.OmegaConf.create(tables[name]), resolve=True)
        executor = asked.pop("executor")
        found = profiles.asked(name, None, str(FILE), ENV)
        assert (found.executor, found.settings) == (executor, asked)


def test_a_profile_has_what_it_extends() -> None:
    found = profiles.asked("slurm_convert_model", None, str(FILE), ENV)
    assert (found.settings["account"], found.settings["gpus_per_node"]) == ("research", 1)
    assert set(found.settings["env_vars"]) == {"HF_TOKEN", "HF_HOME", "GREETING"}
    assert found.settings["remote_job_dir"] == "/lustre/ada/nemo-run"
    assert profiles.asked(None, "slurm", str(FILE), ENV).name == "slurm_convert_model"


@pytest.mark.parametrize(
    ("name", "executor", "said"),
    [
        ("nowhere", None, "has no profile nowhere; it has dgxcloud_convert_model, "),
        ("slurm_convert_mode", None, "did you mean slurm_convert_model? It has dgxcloud_convert_model, "),
        ("two", None, "extends of the profile two is the name of one profile"),
        ("nobody_s", None, "the profile nobody_s names no executor"),
        ("orphan", None, "has no profile nobody, which orphan extends"),
        ("loop_a", None, "loop_a, loop_b, loop_a extend one another"),
        ("unknown_resolver", None, "only ${oc.env:NAME,default} is known"),
        ("unset", None, "needs the variable NOT_SET_ANYWHERE, which is not set"),
        ("slurm_convert_model", "lepton", "is for slurm, not for lepton"),
    ],
)
def test_a_profile_that_cannot_be_is_told(name: str, executor: str | None, said: str) -> None:
    with pytest.raises(WrongValue) as refused:
        profiles.asked(name, executor, str(FILE), ENV)
    assert said in str(refused.value)


def test_a_file_of_profiles_is_data(tmp_path: Path) -> None:
    (tmp_path / "env.toml").write_text("[a\n")
    with pytest.raises(UserError, match="is no TOML"):
        profiles.asked("a", None, str(tmp_path / "env.toml"), {})
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(UserError, match="is no TOML"):
        profiles.asked("a", None, str(tmp_path / "deep.toml"), {})
    (tmp_path / "large.toml").write_text("#" * ((1 << 20) + 1))
    with pytest.raises(UserError, match="cannot be read"):
        profiles.asked("a", None, str(tmp_path / "large.toml"), {})
    with pytest.raises(WrongValue, match="does not exist"):
        profiles.asked("a", None, str(tmp_path / "none.toml"), {})


def test_settings_are_words() -> None:
    assert steps.settings_of(["nodes=2", "exclusive=true", "time=01:00:00", "comment=a=b"]) == {
        "nodes": 2,
        "exclusive": True,
        "time": "01:00:00",
        "comment": "a=b",
    }
    with pytest.raises(WrongValue, match="NAME=VALUE"):
        steps.settings_of(["nodes"])
