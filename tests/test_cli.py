"""The command line: exit codes, messages, files. Every message has a place, a fact and a way out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small import PAIR

import bridge_args
from bridge_args.cli import commands
from bridge_args.cli.main import main
from bridge_args.cli.options import owners
from bridge_args.cli.parser import parser_of
from bridge_args.megatron_lm.unknown import is_known

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "--num-layers", "2", "--hidden-size", "64", "--num-attention-heads", "4", "--seq-length", "32",
    "--max-position-embeddings", "32", "--micro-batch-size", "2", "--train-iters", "5", "--lr", "1e-3",
    "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "1023", "--eval-interval", "10",
]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_yaml_on_stdout_and_messages_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "translate", "--", *SMALL)
    assert code == 0
    assert yaml.safe_load(out)["model"]["num_layers"] == 2
    assert "the number of GPUs is not known; 1 is assumed" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--expert-model-parallel-size 8",
            "8 are assumed, the fewest that are possible "
            "(tensor 1 x pipeline 1 x context 1, for experts tensor 1 x pipeline 1 x expert 8)",
        ),
        ("--tensor-model-parallel-size 2 --sequence-parallel --expert-model-parallel-size 3", "6 are assumed"),
        (
            "--context-parallel-size 4 --expert-model-parallel-size 4",
            "4 are assumed, the fewest that are possible (tensor 1 x pipeline 1 x context 4);",
        ),
        ("--tensor-model-parallel-size 2 --sequence-parallel --expert-tensor-parallel-size 1", "2 are assumed"),
    ],
)
def test_the_number_of_gpus_that_is_assumed_can_be_divided(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    experts = "--num-experts 24 --global-batch-size 24 --micro-batch-size 1 --disable-bias-linear"
    code, _, err = run(capsys, "translate", "--", *SMALL, *experts.split(), *words.split())
    assert said in err and code == 0, err


@pytest.mark.parametrize(
    "old",
    ["--batch-size 4", "--batch-size x", "--batch-size", "--batch-size=", "--batch-size 4 --lr x --hidden-size 63"],
)
def test_every_name_of_old_is_told_at_once(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = ["--warmup", "3", "--model-parallel-size", "two", "--checkpoint-activations"]
    _, _, err = run(capsys, "translate", "--world-size", "1", "--", *SMALL, *others, *old.split())
    for name in ("--batch-size", "--warmup", "--model-parallel-size", "--checkpoint-activations"):
        assert err.count(f"error: {name} is no longer there; use ") == 1, err
    assert "expects" not in err.replace("--lr expects", "")


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("--deprecated-use-mcore-models", "write --use-mcore-models, which Megatron-LM stores under that name"),
        ("--fp8", "write --fp8-format, which Megatron-LM stores under that name"),
        ("--add-bias-linear", "leave it out: it is on unless --disable-bias-linear is given"),
        (
            "--enable-msc",
            "leave it out: it is on unless --disable-msc is given; only Megatron-LM 0.18.2 to main-2026-08-22 has it",
        ),
        ("--num-layerz", "did you mean --num-layers?"),
    ],
)
def test_a_flag_called_like_a_stored_name(flag: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--megatron-lm", "0.16.1", "--world-size", "1", "--", *SMALL, flag]
    _, _, err = run(capsys, "translate", *words)
    assert f"{flag} is not an argument of Megatron-LM 0.16.1; {remedy}\n" in err


@pytest.mark.parametrize(
    ("launcher", "kinds"),
    [
        ("ft_launcher --nproc-per-node 1 pretrain_gpt.py", []),
        ("srun -n 1 ft_launcher --nproc-per-node 1 pretrain_gpt.py", []),
        ("FT_RANK_MONITOR_IPC_SOCKET=/s python pretrain_gpt.py", []),
        ("torchrun --nproc-per-node 1 pretrain_gpt.py", ["stops-later"]),
        ("srun -n 1 python pretrain_gpt.py", ["stops-later"]),
        ("", ["launcher"]),
    ],
)
def test_ft_launcher_is_asked_for_where_it_is_not(launcher: str, kinds: list[str]) -> None:
    t = bridge_args.translate([*launcher.split(), *SMALL, "--enable-ft-package", "--ft-num-warmup-iters", "1"])
    found = [finding for finding in t.findings if "ft_launcher" in str(finding)]
    assert [finding.kind for finding in found] == kinds
    assert all(finding.remedy == "start them with ft_launcher" for finding in found)


@pytest.mark.parametrize("format", ["yaml", "overrides", "run-config", "recipe", "argv", "json"])
def test_every_format(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "translate", "--world-size", "1", "--format", format, "--", *SMALL)
    assert code == 0
    assert "64" in out


def test_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "translate", *PAIR, str(ROOT / "examples" / "01_one_command" / "train.sh"))
    assert (code, err) == (0, "")
    config = yaml.safe_load(out)
    assert config["model"]["num_query_groups"] == 8
    assert config["model"]["tensor_model_parallel_size"] == 2
    assert config["tokenizer"]["vocab_size"] == 128256


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--num-layer", "2"], ["--num-layer is not an argument of Megatron-LM 0.", "--num-layers"]),
        (["--lr", "fast"], ["--lr expects", '"fast"', "--lr fast"]),
        (["--lr"], ["--lr"]),
        (["--DDP-impl", "local"], ["--DDP-impl"]),
        (["--tensor-model-parallel-size", "4"], ["6 GPUs cannot be divided", "tensor 4", "-parallel-size 4"]),
        (["--bf16", "true"], ["true"]),
    ],
    ids=["unknown flag", "bad value", "missing value", "retired flag", "does not divide", "value for a switch"],
)
def test_bad_input_is_one_clear_message(
    words: list[str], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.yaml"
    code, out, err = run(capsys, "translate", "-o", str(target), "--world-size", "6", "--", *SMALL, *words)
    assert (code, out) == (1, "")
    assert all(text in err for text in said), err
    assert err.count("error: ") == 1, err
    assert os.listdir(tmp_path) == []


def test_all_problems_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(
        capsys, "translate", "--world-size", "1", "--", *SMALL, "--lr", "fast", "--bf16", "stray", "--num-layer", "2"
    )
    assert code == 1
    assert err.count("error: ") == 3


def test_places_in_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        "#!/bin/bash\ntorchrun --nproc-per-node 1 pretrain_gpt.py \\\n  --num-layers 2 \\\n  --hidden-size big\n"
    )
    code, _, err = run(capsys, "translate", str(script))
    assert code == 1
    assert f"{script}:4: --hidden-size expects a whole number" in err


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "translate", str(tmp_path / "missing.sh"))
    assert (code, out) == (1, "")
    assert "missing.sh cannot be read: No such file or directory" in err

    binary = tmp_path / "binary.sh"
    binary.write_bytes(b"\x7fELF\xff\xfe")
    code, _, err = run(capsys, "translate", str(binary))
    assert code == 1
    assert "is not a text file" in err

    empty = tmp_path / "empty.sh"
    empty.write_text("echo hello\n")
    code, _, err = run(capsys, "translate", str(empty))
    assert code == 1
    assert "holds no command that starts pretrain_gpt.py" in err


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "translate", "--world-size", "1", "-o", str(tmp_path / "no" / "x.yaml"), "--", *SMALL)
    assert code == 1
    assert "cannot be written: No such file or directory" in err


def test_a_file_is_replaced_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "x.yaml"
    target.write_text("before")
    code, *_ = run(capsys, "translate", "--world-size", "8", "-o", str(target), "--", *SMALL, "--num-layer", "2")
    assert (code, target.read_text()) == (1, "before")
    code, *_ = run(capsys, "translate", "--world-size", "1", "-o", str(target), "--", *SMALL)
    assert code == 0
    assert "num_layers: 2" in target.read_text()
    assert os.listdir(tmp_path) == ["x.yaml"]


def test_strict(capsys: pytest.CaptureFixture[str]) -> None:
    lossy = [*SMALL, "--adlr-autoresume"]
    assert run(capsys, "translate", "--world-size", "1", "--", *lossy)[0] == 0
    code, out, err = run(capsys, "translate", "--strict", "--world-size", "1", "--", *lossy)
    assert (code, out) == (1, "")
    assert "--adlr-autoresume" in err


def test_an_unknown_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "translate", "--megatron-lm", "0.99", "--", *SMALL)
    assert code == 1
    assert "no catalog of Megatron-LM 0.99; there are 0.11.0" in err


def test_wrong_use_is_exit_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["translate", "--format", "xml", "--", *SMALL])
    assert stop.value.code == 2


def test_json_has_no_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """They are texts there, as in the JSON of a report."""
    words = ["--world-size", "1", "--format", "json", "--", *SMALL, "--weight-decay", "inf", "--adam-eps", "nan"]
    code, out, _ = run(capsys, "translate", *words)
    made = json.loads(out, parse_constant=lambda text: pytest.fail(text))
    assert code == 0
    assert (made["optimizer"]["weight_decay"], made["optimizer"]["adam_eps"]) == ("inf", "nan")
    _, out, _ = run(capsys, "report", *words)
    settings = json.loads(out, parse_constant=lambda text: pytest.fail(text))["settings"]
    assert {"inf", "nan"} <= {setting["value"] for setting in settings if isinstance(setting["value"], str)}


def test_notes_are_counted_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What asks for something is never among them."""
    words = ["-o", str(tmp_path / "x.yaml"), "--", *SMALL, "--inference-max-seq-length", "4096", "--deterministic-mode"]
    words = [*PAIR, *words]
    _, _, err = run(capsys, "translate", *words)
    assert err.endswith("\n1 note: --verbose shows it\n")
    assert "4096 has no effect" not in err and "NCCL_ALGO" in err and "GPUs is not known" in err
    _, _, err = run(capsys, "translate", "--verbose", *words)
    assert "--verbose" not in err and "note: --inference-max-seq-length 4096 has no effect" in err
    _, _, err = run(capsys, "translate", "--report", "text", *words)
    assert err.count("--verbose") == 1


def test_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "report", "--world-size", "1", "--format", "json", "--", *SMALL)
    assert code == 0
    assert json.loads(out)["schema"] == 1


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "explain", "--moe-router-topk".lstrip("-"))
    assert code == 0
    assert "-> model.moe_router_topk" in out
    code, _, err = run(capsys, "explain", "no-such-thing")
    assert code == 1
    assert "no-such-thing" in err


def test_the_tables_are_true(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "check")
    assert (code, err) == (0, "")


def test_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "translate", "--world-size", "1", "--format", "argv", "--", *SMALL],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("--num-layers 2 ")


def test_files_named_on_the_command_line_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in SMALL if word != "--mock-data"]
    blend = tmp_path / "blend.txt"
    blend.write_text("0.3 a_text_document\n0.7 b_text_document\n")
    code, out, _ = run(
        capsys, "translate", "--world-size", "1", "--", *words, "--split", "9,1,0", "--data-args-path", str(blend)
    )
    assert code == 0
    assert yaml.safe_load(out)["dataset"]["blend"] == [["a_text_document", "b_text_document"], [0.3, 0.7]]

    splits = tmp_path / "splits.json"
    splits.write_text('{"train": ["1", "a", "2", "b"], "valid": "c", "test": ["d"]}')
    code, out, _ = run(
        capsys, "translate", "--world-size", "1", "--", *words, "--per-split-data-args-path", str(splits)
    )
    assert code == 0
    wanted = [[["a", "b"], [1.0, 2.0]], [["c"], None], [["d"], None]]
    assert yaml.safe_load(out)["dataset"]["blend_per_split"] == wanted

    code, _, err = run(
        capsys, "translate", "--strict", "--world-size", "1", "--", *words, "--split", "9,1,0", "--data-args-path", "x"
    )
    assert code == 1
    assert "--data-args-path" in err
    assert "No such file" in err


def test_a_report_is_coloured_on_a_terminal_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["report", "--world-size", "1", "--", *SMALL]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\033" not in run(capsys, *words)[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\033[1mWhat becomes of the arguments" in run(capsys, *words)[1]
    assert run(capsys, "report", "-o", str(tmp_path / "r.txt"), *words[1:])[0] == 0
    assert "\033" not in (tmp_path / "r.txt").read_text()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in run(capsys, *words)[1]


@pytest.mark.parametrize("piped", [False, True])
def test_the_page_shows_the_script(
    piped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.sh"
    script.write_text("# what we always run\npython pretrain_gpt.py " + " ".join(SMALL) + "\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(script.read_text()))
    code, out, _ = run(capsys, "report", "--world-size", "1", "--format", "html", "-" if piped else str(script))
    assert code == 0
    assert "# what we always run" in out


@pytest.mark.parametrize("command", ["validate", "rehearse"])
def test_what_is_not_known_is_asked_for_before_anything_runs(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CKPT", raising=False)
    monkeypatch.setattr("bridge_args.bridge.installed.missing", lambda version: None)  # that would come first
    script = tmp_path / "train.sh"
    script.write_text(f"python pretrain_gpt.py {' '.join(SMALL)} --save $CKPT --save-interval 5\n")
    code, out, err = run(capsys, command, str(script))
    assert (code, out) == (1, "")
    assert "the value of $CKPT is not known; give it with --set CKPT=VALUE" in err


def test_what_the_script_leaves_open_is_what_the_shell_has(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERS", "two")
    monkeypatch.setattr("bridge_args.bridge.installed.missing", lambda version: None)
    script = tmp_path / "train.sh"
    script.write_text(f"python pretrain_gpt.py {' '.join(SMALL)} --save $LAYERS --num-layers $LAYERS\n")
    code, _, err = run(capsys, "validate", str(script))
    assert code == 1
    assert '--num-layers expects a whole number, not "two"' in err


OWN = """\
TP=1
while [[ $# -gt 0 ]]; do
  case $1 in
    --tp) TP=$2; shift 2 ;;
    *) MORE+=("$1"); shift ;;
  esac
done
torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 \\
  --max-position-embeddings 32 --micro-batch-size 1 --train-iters 5 --lr 1e-3 --mock-data --eval-interval 10 \\
  --tokenizer-type NullTokenizer --vocab-size 100 --tensor-model-parallel-size $TP "${MORE[@]}"
"""


@pytest.mark.parametrize(
    "words",
    [
        ["SOURCE", "--", "--tp", "2", "--seed", "5"],
        ["--strict", "SOURCE", "--", "--seed", "5", "--tp", "2"],
    ],
    ids=["all after --", "in another order"],
)
@pytest.mark.parametrize("typed", [False, True], ids=["a file", "standard input"])
def test_what_stands_after_dashes_is_given_to_the_script(
    words: list[str], typed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.sh"
    script.write_text(OWN)
    monkeypatch.setattr("sys.stdin", io.StringIO(OWN))
    words = ["-" if typed and word == "SOURCE" else str(script) if word == "SOURCE" else word for word in words]
    code, out, err = run(capsys, "translate", "--format", "argv", *words)
    assert code == 0, err
    assert "--tensor-model-parallel-size 2 " in out and "--seed 5 " in out


def test_options_of_a_script_before_the_dashes_are_sent_behind_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.sh").write_text(OWN)
    with pytest.raises(SystemExit) as left:
        main(["translate", str(tmp_path / "train.sh"), "--tp", "2"])
    assert left.value.code == 2
    assert (
        "unrecognized arguments: --tp 2; arguments of the script that begin with - go after --"
        in capsys.readouterr().err
    )


def test_words_of_a_script_may_stand_behind_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(OWN)
    code, out, err = run(capsys, "translate", str(script), "--set", "X=1", "--format", "argv", "--", "--tp", "4")
    assert code == 0 and "--tensor-model-parallel-size 4 " in out, err
    script.write_text("TP=$1\n" + OWN[OWN.index("torchrun") :])
    for words in (["4"], ["--", "4"], ["4", "--"]):
        code, out, err = run(capsys, "translate", str(script), "--format", "argv", *words)
        assert code == 0 and "--tensor-model-parallel-size 4 " in out, err


@pytest.mark.parametrize("kind", ["YAML", "a folder"])
def test_other_sources_take_no_words(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(tmp_path) if kind == "a folder" else str(ROOT / "tests" / "model_config.yaml")
    code, out, err = run(capsys, "translate", source, "--", "--lr", "1")
    assert (code, out) == (1, "")
    assert err == f"{source} is {kind}, which takes no arguments: --lr 1\n"


def test_commands_without_a_source_take_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", "--", "--lr", "1"])
    assert left.value.code == 2
    assert "check takes no arguments after --: --lr 1" in capsys.readouterr().err


# ---------------------------------------------------------------- our options in the wrong place


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("translate", "--world-size 8 -o x.yaml", "--world-size and -o are options of bridge-args: put them before --"),
        ("report", "--format=json", "--format is an option of bridge-args: put it before --"),
        (
            "translate",
            "--report text --strict --full",
            "--report, --strict and --full are options of bridge-args: put them before --",
        ),
        (
            "validate",
            "--dry-run",
            "--dry-run is an option of bridge-args launch and bridge-args checkpoint and bridge-args migrate, "
            "not of validate: leave it out",
        ),
    ],
)
def test_our_options_behind_the_dashes(
    command: str,
    words: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--", *SMALL, *words.split()]) == 1
    assert capsys.readouterr().err.strip() == said
    assert list(tmp_path.iterdir()) == []


def test_options_of_a_launcher_are_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    front = "srun -o log.txt --time 3 --nodes 1 torchrun --nproc-per-node 1 pretrain_gpt.py".split()
    assert main(["translate", "--", *front, *SMALL]) == 0
    assert "put it before" not in capsys.readouterr().err


def test_every_option_of_ours_is_told_or_megatrons_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the command: an option of ours behind the dashes never is just an unknown argument."""
    for command in filter(lambda name: commands.load(name).from_source, commands.NAMES):
        for option, having in owners(parser_of()).items():
            if command in having and not is_known(option):
                assert main([command, "--", *SMALL, option]) == 1
                assert f"{option} is an option of bridge-args: put it before --" in capsys.readouterr().err


def test_every_module_of_commands_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """And the help lists it."""
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(commands.NAMES) == sorted(modules)
    assert main([]) == 2
    listed = " ".join(capsys.readouterr().err.split())
    for name in commands.NAMES:
        assert f" {name} {commands.load(name).summary}" in listed


def test_standard_input_has_bounds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, says in (
        (io.StringIO("x\n" * 500_000), "<stdin> has more than 500000 characters; that is no launch script"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), "utf-8"), "<stdin> is no text: byte 0 is not UTF-8"),
        (None, "standard input is closed; name a launch script"),
    ):
        monkeypatch.setattr("sys.stdin", stream)
        code, out, err = run(capsys, "translate", "-")
        assert (code, out, err) == (1, "", says + "\n")


# ---------------------------------------------------------------- faults of ours


def test_a_fault_of_ours_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing of what the user's files hold; the traceback is there for who asks."""

    def broken(*_: object, **__: object) -> None:
        raise ValueError("hunter2 is not in list")

    monkeypatch.setattr("bridge_args.mapping.table.load", broken)
    monkeypatch.delenv("BRIDGE_ARGS_TRACEBACK", raising=False)
    assert main(["translate", "--world-size", "1", "--", *SMALL]) == 3
    out, err = capsys.readouterr()
    assert out == "" and "hunter2" not in err and "Traceback" not in err and err.count("\n") == 1
    assert "this is a fault of bridge-args, not of your input: ValueError at " in err
    assert "Please report this line" in err and "BRIDGE_ARGS_TRACEBACK=1" in err
    monkeypatch.setenv("BRIDGE_ARGS_TRACEBACK", "1")
    assert main(["translate", "--world-size", "1", "--", *SMALL]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err and "ValueError: hunter2 is not in list" in err


WRONG = {
    "a row that goes nowhere": "arguments: {lr: {to: []}}",
    "no mapping of arguments": "arguments: 3",
    "no mapping at all": "- 1",
    "a builder of no name": "arguments: {lr: {section: nosuch}}",
    "an argument that is none": "arguments: {'x y': model.lr}",
    "a condition on nothing": "arguments: {lr: {'bridge >=': optimizer.lr}}",
    "what opens a section is a list": "sections: {a: {opened_by: [1]}}",
    "two ends": "arguments: {lr: {to: optimizer.lr, not_needed: No.}}",
    "a reason that is a list": "arguments: {lr: {not_needed: [1]}}",
    "arguments that are no list": "not_needed: [{because: No., arguments: lr}]",
    "a key that is a list": "arguments: {[1]: optimizer.lr}",
    "a title that is a list": "title: [1]\narguments: {lr: optimizer.lr}",
    "a note that is a mapping": "arguments: {lr: {to: optimizer.lr, note: {a: b}}}",
    "what it changes is a list": "arguments: {lr: {no_equivalent: No., changes: [1]}}",
    "a condition inside of another": "arguments: {lr: {'bridge >=0.1': {'bridge <0.1': optimizer.lr}}}",
    "an alias of itself": "arguments: &a {lr: *a}",
}


@pytest.mark.parametrize("table", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_table_is_a_message(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(table)
    for command in ("translate", "report"):
        code, _, err = run(capsys, command, "--world-size", "1", "--mappings", str(path), "--", *SMALL)
        assert code in (0, 1) and "fault of bridge-args" not in err, err


def test_versions_lists_what_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "0.17", "0.19.0", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["from"], data["to"]) == ("0.17.1", "0.19.0")
    (nesterov,) = [one for one in data["gone"] if one["flag"] == "--muon-use-nesterov"]
    assert nesterov == {"flag": "--muon-use-nesterov", "instead": "write --muon-nesterov", "renamed": "--muon-nesterov"}
    assert main(["versions", "0.17", "0.19.0"]) == 0
    text = capsys.readouterr().out
    assert all(one["flag"] in text for one in data["gone"]) and all(flag in text for flag in data["new"])


def test_versions_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f"torchrun pretrain_gpt.py {' '.join(SMALL)} \\\n  $EXTRA --optimizer muon --muon-use-nesterov\n")
    words = ["versions", "0.17.1", "0.18.2", str(script), "--set", "EXTRA=--vocab-size 128"]
    assert main([*words, "--format", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [(one["line"], one["message"]) for one in data["refused"]] == [
        (2, "--muon-use-nesterov is not an argument of Megatron-LM 0.18.2")
    ]
    (padded,) = [one for one in data["values"] if one["argument"] == "padded_vocab_size"]
    assert (padded["before"], padded["after"], padded["rule"]["since"]) == (256, 128, "0.18")
    assert main(words) == 1
    assert "it had N + 1" in capsys.readouterr().out
    assert main(["versions", "0.18.2", "0.18.2", "--", *SMALL]) == 0
    assert "it means the same to both" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0.16.1"], "name another version beside 0.16.1"),
        (["0.16.1", "0.9"], "no catalog of Megatron-LM 0.9"),
        (["0.16.1", "0.19.0", "--megatron-lm", "0.16.1"], "leave --megatron-lm out"),
        (["--", "--lr", "1"], "name two versions of Megatron-LM before the command line"),
        (["0.16.1", "0.19.0", "nowhere.sh"], "nowhere.sh"),
    ],
)
def test_versions_used_wrongly(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", *words]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err
