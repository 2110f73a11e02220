"""A checkout of the user's own is asked in a process of its own; ``tests/fork`` is a made-up one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from small import SMALL

import bridge_args
from bridge_args.checkout import ask
from bridge_args.cli.main import main
from bridge_args.mapping.rows import TableError
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.resolvers import live, of_checkout

FORK = Path(__file__).parents[1] / "fork"


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bridge_args"


def translated(*words: str, **named: object) -> bridge_args.Translation:
    return bridge_args.translate([*SMALL, *words], **{"world_size": 1, "megatron_lm": str(FORK), **named})  # type: ignore[arg-type]


def test_effective_values_are_the_checkouts() -> None:
    t = translated()
    setting = t.args.settings["ffn_hidden_size"]
    assert (setting.value, setting.source) == (192, "derived")
    assert bridge_args.to_run_config(t)["model"]["ffn_hidden_size"] == 192
    assert bridge_args.to_run_config(bridge_args.translate(SMALL, world_size=1))["model"]["ffn_hidden_size"] == 256
    assert "ffn_hidden_size: 192  # decided by Megatron-LM" in bridge_args.to_yaml(t)
    assert t.versions.megatron == "0.16.1"  # the nearest version with rows, for a fork of 0.16.7
    assert t.errors == ()


def test_nothing_of_it_is_imported_here() -> None:
    before = set(sys.modules)  # Bridge 0.6 has modules of megatron.training of its own
    translated()
    assert not any(name.startswith("megatron.training") for name in set(sys.modules) - before)
    assert str(FORK) not in sys.path


def test_its_own_flags_have_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    t = translated("--router-noise", "0.25", "--window-pair", "3:4", "--mood", "wild")
    lost = {finding.arguments[0]: finding for finding in t.findings if finding.kind == "no-row"}
    assert set(lost) == {"router_noise", "window_pair", "mood"}
    assert str(lost["router_noise"]).startswith("--router-noise = 0.25 is lost: no mapping table has it")
    assert lost["router_noise"].excerpt is not None
    assert "--mappings FILE" in lost["router_noise"].remedy
    assert t.args["window_pair"] == (3, 4)  # its own converter
    assert t.args["mood"] == "wild"
    assert t.outcomes["very_loud"].fate == "not_yet"
    assert set(t.losses) >= set(lost.values())
    words = [
        "translate",
        "--megatron-lm",
        str(FORK),
        "--world-size",
        "1",
        "--strict",
        "--",
        *SMALL,
        "--router-noise",
        ".1",
    ]
    assert main(words) == 1
    assert "--strict: 1 setting" in capsys.readouterr().err


def test_rows_of_the_users_own(tmp_path: Path) -> None:
    table = tmp_path / "my.yaml"
    table.write_text(
        "arguments:\n  router_noise: model.moe_input_jitter_eps\n  mood: {not_needed: Bridge is always calm.}\n"
        "  moe_input_jitter_eps: {not_needed: Our fork has router_noise instead.}\n"
    )
    t = translated("--router-noise", "0.25", "--mood", "wild", mappings=str(table))
    assert [finding for finding in t.findings if finding.kind == "no-row"] == []
    (assignment,) = (a for a in t.assignments if a.path == "model.moe_input_jitter_eps")
    assert assignment.value == 0.25
    assert assignment.row.place == f"{table}:2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "arguments:\n  router_noise: model.nothing_like_it\n",
            "{}:2: router_noise goes to model.nothing_like_it, which Bridge",
        ),
        ("arguments:\n  router_nose: model.num_layers\n", "{}:2: router_nose is not an argument"),
        ("arguments:\n  router_noise: model.num_layers\n", "model.num_layers is written by"),
        ("arguments:\n  router_noise: {no_equivalent: no}\n", "{}:2: a reason is a sentence"),
        (
            "arguments:\n  router_noise: {to: model.num_layers, as: upside_down}\n",
            "no conversion is called 'upside_down'",
        ),
        ("argument:\n  router_noise: a\n", "{}:1: unknown key 'argument'"),
        ("arguments: [", "not readable as YAML"),
        ("arguments:\n  mood: a.b\n  mood: a.c\n", "{}:3: mood is there twice"),
    ],
)
def test_a_table_that_is_not_right(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "my.yaml"
    table.write_text(text)
    with pytest.raises(TableError) as problem:
        translated(mappings=str(table))
    assert said.format(table) in str(problem.value)
    assert main(["translate", "--megatron-lm", str(FORK), "--mappings", str(table), "--", *SMALL]) == 1
    assert said.format(table) in capsys.readouterr().err


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(TableError, match="nowhere.yaml cannot be read: No such file"):
        bridge_args.translate(SMALL, world_size=1, mappings="nowhere.yaml")


def test_its_refusals_are_findings_in_its_words() -> None:
    t = translated("--router-noise", "2")
    (error,) = t.errors
    assert error.kind == "invalid-command-line"
    assert error.message.startswith(
        "Megatron-LM stops: --router-noise must be below 1 (megatron/training/arguments.py:"
    )
    assert error.arguments[0] == "router_noise"
    assert error.excerpt is not None
    assert "--router-noise 2" in error.excerpt.text


def test_a_refusal_without_a_message_shows_the_statement() -> None:
    catalog = catalogs.load("0.16.1")
    from bridge_args.megatron_lm.parse import parse

    (answer,) = ask.effective(FORK, [ask.Case((*SMALL, "--tensor-model-parallel-size", "2"), 3)])
    assert answer["stage"] == "validate"
    finding = live._refusal(answer, parse([*SMALL, "--tensor-model-parallel-size", "2"], catalog), catalog)
    assert "assert args.world_size % args.tensor_model_parallel_size == 0" in finding.message
    assert finding.arguments == ("tensor_model_parallel_size",)


def test_words_its_parser_refuses() -> None:
    (error,) = translated("--router-noise", "loud").errors
    assert error.kind == "bad-value"
    (error,) = translated("--router-nose", "0.1").errors
    assert "did you mean --router-noise?" in error.remedy
    (error,) = translated("--window-pair", "3").errors  # only its own converter knows
    assert "argument --window-pair: invalid pair value: '3'" in error.message


def test_a_variable_that_is_not_known_is_a_note() -> None:
    t = translated("--sequence-parallel", env=None)
    assert t.errors == ()
    assert [finding.kind for finding in t.findings if "CUDA_DEVICE_MAX_CONNECTIONS" in finding.message] == [
        "environment"
    ]
    assert t.args["ffn_hidden_size"] == 192
    assert translated("--sequence-parallel", env={}).errors != ()
    assert translated("--sequence-parallel", env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"}).errors == ()


def test_cases_do_not_see_one_another_and_none_hangs() -> None:
    loud = "--very-loud"
    lines = [(), (loud,) * 9, (loud,) * 8, (loud,) * 7, ("--hidden-size", "32")]
    answers = ask.effective(FORK, [ask.Case((*SMALL, *words), 1) for words in lines], timeout=3)
    assert answers[0]["args"]["ffn_hidden_size"] == 192
    assert answers[1]["error"]["message"] == "no answer in 3 s"
    assert answers[2]["error"]["message"] == "the checkout is asked without a network"
    assert answers[3]["error"]["message"] == "the process ended with status 3"
    assert answers[4]["args"]["ffn_hidden_size"] == 96


def test_the_machines_own_environment_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "7")
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    (answer,) = ask.effective(FORK, [ask.Case((*SMALL, "--sequence-parallel"), 2)])
    assert "CUDA_DEVICE_MAX_CONNECTIONS" in answer["error"]["message"]
    assert answer["parsed"]["world_size"] == 2


def test_its_catalog_is_kept_until_a_file_changes(cache: Path, tmp_path: Path) -> None:
    fork = tmp_path / "tests" / "fork"
    shutil.copytree(FORK, fork, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bridge_args").symlink_to(FORK.parents[1] / "bridge_args")
    assert "--router-noise" in of_checkout.catalog_of(str(fork), "pretrain_gpt.py").by_flag
    (kept,) = cache.iterdir()
    told = json.loads(kept.read_text())
    told["arguments"][0]["flags"].append("--from-the-cache")
    kept.write_text(json.dumps(told))
    assert "--from-the-cache" in of_checkout.catalog_of(str(fork), "pretrain_gpt.py").by_flag
    arguments = fork / "megatron" / "training" / "arguments.py"
    arguments.write_text(arguments.read_text().replace('"--mood"', '"--moods"'))
    assert "--moods" in of_checkout.catalog_of(str(fork), "pretrain_gpt.py").by_flag


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "--router-noise" in of_checkout.catalog_of(str(FORK), "pretrain_gpt.py").by_flag


def test_folders_that_are_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "--megatron-lm", str(tmp_path), "--", *SMALL]) == 1
    assert f"{tmp_path} is not a Megatron-LM checkout" in capsys.readouterr().err
    (tmp_path / "megatron" / "core").mkdir(parents=True)
    (tmp_path / "megatron" / "core" / "package_info.py").write_text("MAJOR = 0\nMINOR = 16\nPATCH = 1\n")
    assert main(["translate", "--megatron-lm", str(tmp_path), "--", *SMALL]) == 1
    assert "holds no pretrain_gpt.py" in capsys.readouterr().err
    (tmp_path / "pretrain_gpt.py").write_text("import no_such_package_of_ours\n")
    assert main(["translate", "--megatron-lm", str(tmp_path), "--", *SMALL]) == 1
    assert "cannot be asked: ModuleNotFoundError: No module named 'no_such_package_of_ours'" in capsys.readouterr().err


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    experts = ("--num-experts", "2")
    assert main(["diff", "--megatron-lm", str(FORK), "--world-size", "1", "--", *SMALL, *experts]) == 1
    out, err = capsys.readouterr()
    # The function to look at, and what only follows from it.
    computed = "computed by derive/model.py ffn_hidden_size"
    assert f"ffn_hidden_size: built-in 256, checkout 192; {computed}" in out.splitlines()
    assert "moe_ffn_hidden_size: built-in 256, checkout None; derived from ffn_hidden_size" in out.splitlines()
    assert "main_grads_dtype: built-in torch.float32, checkout 'fp32'" in out
    assert "disagreements" in err
    assert main(["diff", "--world-size", "1", "--", *SMALL]) == 1
    assert "name one with --megatron-lm CHECKOUT" in capsys.readouterr().err


def test_the_normalised_command_line_keeps_its_flags() -> None:
    assert bridge_args.to_argv(translated("--router-noise", "0.25"))[-2:] == ["--router-noise", "0.25"]


def test_values_of_every_kind_come_through() -> None:
    from bridge_args.checkout.child import written
    from bridge_args.values import Symbol

    plain = [1, 2.5, None, True, "a", [1, [2]], {"a": 1}, (1, 2)]
    assert live.decoded(json.loads(json.dumps(written(plain)))) == plain
    assert live.decoded(json.loads(json.dumps(written(float("inf"))))) == float("inf")
    assert live.decoded(written(os.path.join)) == Symbol(f"{os.path.__name__}.join")
    assert live.decoded(written(object())) == live.Unread("builtins.object")
    assert live.decoded(written({3, 1})) == {1, 3}
    assert live.decoded(written(Path("/a/b"))) == "/a/b"
