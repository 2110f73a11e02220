"""From a launch script to Bridge: which command is meant, its world size, and what nobody has given."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest

from bridge_args.emit.argv import to_argv
from bridge_args.emit.config_yaml import to_yaml
from bridge_args.emit.hydra import shell_word, to_overrides
from bridge_args.emit.recipe import to_recipe
from bridge_args.mapping.translation import Translation
from bridge_args.script.command import world_size_of
from bridge_args.source.read import from_file, from_text
from bridge_args.source.source import Source, SourceError
from bridge_args.steps import translate
from bridge_args.values import Referring, referring

MODEL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-4 --eval-interval 10 --eval-iters 1 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --no-rope-fusion "
)


def read(text: str, **given: object) -> Source:
    return from_text(text, "train.sh", **given)  # type: ignore[arg-type]


def translated(source: Source) -> Translation:
    return translate(source.command, env=source.environment)


# ---------------------------------------------------------------- which command


def test_of_several_commands_one_is_picked() -> None:
    script = "for tp in 1 2; do\n  torchrun --nproc-per-node 8 pretrain_gpt.py --tensor-model-parallel-size $tp\ndone\n"
    with pytest.raises(SourceError) as error:
        read(script)
    assert str(error.value).split("\n") == [
        "train.sh starts Megatron-LM 2 times; choose one with --command N:",
        "  1  line 2: --tensor-model-parallel-size 1",
        "  2  line 2: --tensor-model-parallel-size 2",
    ]
    assert [word.text for word in read(script, number=2).command.argv] == ["--tensor-model-parallel-size", "2"]
    with pytest.raises(SourceError, match="there is no command 3: train.sh holds 2 commands"):
        read(script, number=3)


def test_conditions_that_cannot_be_told_are_in_the_list_and_in_the_report() -> None:
    script = "if [ -d /fast ]; then D=/fast; else D=/slow; fi\npython pretrain_gpt.py --save $D\n"
    with pytest.raises(SourceError) as error:
        read(script)
    assert "     when `[ -d /fast ]` (line 1) holds" in str(error.value).split("\n")
    (finding,) = read(script, number=2).findings
    assert finding.kind == "not-read"
    assert "`[ -d /fast ]` (line 1) does not hold" in finding.message


def test_other_programs_of_a_script_are_not_asked_about() -> None:
    script = "pip install -e .\npython tools/prepare.py --a 1 --b 2\ntorchrun pretrain_gpt.py --lr 1\npython eval.py\n"
    assert read(script).command.program == "pretrain_gpt.py"


@pytest.mark.parametrize(
    "command",
    [
        "torchrun my_training.py --lr 1",
        "python -m torch.distributed.run -m mytraining.train --lr 1",
        "deepspeed --num_gpus 8 finetune.py --lr 1",
        "srun ./launch.sh pretrain_gpt.py --lr 1",
        "srun singularity exec --nv -B $PWD:/w img.sif bash -c 'cd x; exec python pretrain_gpt.py --lr 1 | tee log'",
        "docker run --rm -it --gpus all -v /a:/b nvcr.io/x:y torchrun pretrain_gpt.py --lr 1",
        "sbatch --nodes 2 --wrap 'srun python pretrain_gpt.py --lr 1'",
        'ssh -p 22 node1 "cd /x && nohup torchrun pretrain_gpt.py --lr 1 > log 2>&1 &"',
    ],
)
def test_finds_the_command(command: str) -> None:
    assert [word.text for word in read(command + "\n").command.argv] == ["--lr", "1"]


def test_why_nothing_was_found() -> None:
    script = 'if [ -z "$MODEL" ]; then echo usage; exit 1; fi\n. /etc/profile\nbash /elsewhere/run.sh\n'
    with pytest.raises(SourceError) as error:
        read(script)
    because = '[ -z "$MODEL" ] holds: give it with --set MODEL=VALUE'
    assert f"train.sh:1: the script ends here because {because}" in str(error.value)
    with pytest.raises(SourceError) as error:
        read(script, variables={"MODEL": "x"})
    assert "train.sh:2: /etc/profile is not read" in str(error.value)
    assert "train.sh:3: /elsewhere/run.sh is started and not read" in str(error.value)


def test_a_file_that_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "big.sh").write_bytes(b"x" * 600_000)
    (tmp_path / "binary.sh").write_bytes(b"\xff\xfe")
    for name, says in (
        ("big.sh", "600000 bytes"),
        ("binary.sh", "not UTF-8"),
        ("none.sh", "No such file"),
        (".", "is not"),
    ):
        with pytest.raises(SourceError, match=says):
            from_file(str(tmp_path / name))


# ---------------------------------------------------------------- world size and environment


@pytest.mark.parametrize(
    ("script", "ranks"),
    [
        ("torchrun --nproc-per-node 8 --nnodes 4 pretrain_gpt.py\n", 32),
        ("#SBATCH --nodes=4 --ntasks-per-node=8\nsrun python pretrain_gpt.py\n", 32),
        ("#SBATCH -N 4 -n 16\nsrun python pretrain_gpt.py\n", 16),
        ("#SBATCH -N 4 --ntasks-per-node=8\nsrun -N 2 python pretrain_gpt.py\n", 16),
        ("#SBATCH -N 4 --gpus-per-node=8\nsrun torchrun --nnodes $SLURM_NNODES --nproc-per-node $SLURM_GPUS_ON_NODE "
         "pretrain_gpt.py\n", 32),
        ("G=8\nN=$((16 / G))\ndeepspeed --num_gpus $G --num_nodes $N pretrain_gpt.py\n", 16),
        ("export WORLD_SIZE=4\npython pretrain_gpt.py --lr 1\n", None),
    ],
)  # fmt: skip
def test_world_size_comes_from_the_script(script: str, ranks: int | None) -> None:
    source = read(script)
    assert world_size_of(source.command) == ranks
    if ranks is None:
        assert translated(source).world_size == 4


def test_a_number_that_is_needed_is_asked_for_by_name() -> None:
    script = (
        "GPUS=$(nvidia-smi -L | wc -l)\nexport CUDA_DEVICE_MAX_CONNECTIONS=1\n"
        f"torchrun --nproc-per-node $GPUS pretrain_gpt.py {MODEL} --tensor-model-parallel-size $TP\n"
    )
    said = [str(finding).split("\n")[0] for finding in translated(read(script)).findings]
    (launcher,) = [text for text in said if "does not say how many processes" in text]
    assert launcher.endswith("give it with --set GPUS=NUMBER")
    (size,) = [text for text in said if "--tensor-model-parallel-size" in text]
    assert size.endswith("and $TP is not known; give it with --set TP=VALUE")
    t = translated(read(script, variables={"GPUS": "8", "TP": "2"}))
    assert (t.world_size, t.args["tensor_model_parallel_size"], t.errors) == (8, 2, ())


def test_what_a_script_exports_is_the_environment_of_the_run() -> None:
    script = "export CUDA_DEVICE_MAX_CONNECTIONS=1\nA=1\nB=2 torchrun pretrain_gpt.py\nexport LATE=1\n"
    source = read(script)
    assert source.environment == {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "B": "2"}
    assert source.command.environment == {"B": "2"}


# ---------------------------------------------------------------- what nobody has given


@pytest.fixture(scope="module")
def open_ended() -> Translation:
    extras = '--save $CKPT/a\\"b --save-interval 5 --load "${CKPT}_old" --tensorboard-dir \'$HOME/x\' $EXTRA'
    return translated(read(f"torchrun --nproc-per-node 1 pretrain_gpt.py {MODEL} {extras}\n"))


def test_what_nobody_has_given_is_named(open_ended: Translation) -> None:
    assert open_ended.unresolved == ("CKPT", "EXTRA")
    assert not open_ended.errors
    assert any(
        finding.message.startswith("$EXTRA stands where an option could be") and finding.level == "warning"
        for finding in open_ended.findings
    )


def test_yaml_asks_the_environment(open_ended: Translation) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create(to_yaml(open_ended))
    raw = omegaconf.OmegaConf.to_container(config, resolve=False)
    assert raw["checkpoint"]["save"] == '${oc.env:CKPT}/a"b'
    assert raw["checkpoint"]["load"] == "${oc.env:CKPT}_old"
    before = os.environ.get("CKPT")
    os.environ["CKPT"] = "/there"
    try:
        assert config.checkpoint.save == '/there/a"b'
        assert config.logger.tensorboard_dir == "$HOME/x"  # single quotes: a dollar sign, no variable
    finally:
        os.environ.pop("CKPT")
        if before is not None:
            os.environ["CKPT"] = before


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_fills_in_overrides_and_command_lines(open_ended: Translation) -> None:
    words = [*to_overrides(open_ended), *to_argv(open_ended)]
    line = " ".join(shell_word(word, open_ended.unresolved) for word in words)
    run = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"],
        capture_output=True,
        check=True,
        env={"CKPT": "/the re", "HOME": "/no"},
    )
    passed = run.stdout.decode().split("\0")[:-1]
    filled = [word.replace("${CKPT}", "/the re").replace("$CKPT", "/the re") for word in words]
    assert passed == filled
    assert 'checkpoint.load="/the re_old"' in passed
    assert 'logger.tensorboard_dir="$HOME/x"' in passed


def test_a_recipe_asks_the_environment(open_ended: Translation) -> None:
    recipe = to_recipe(open_ended)
    assert "from os.path import expandvars" in recipe
    assert 'load=expandvars("${CKPT}_old")' in recipe
    assert 'tensorboard_dir="$HOME/x"' in recipe


def test_texts_with_variables_are_told_apart() -> None:
    value = referring(["$A/x", "$AB", "${A}B", "plain", 3], ("A",))
    assert isinstance(value, list)
    assert [isinstance(item, Referring) for item in value] == [True, False, True, False, False]
    assert list(Referring("x$A-${B}$C", ("A", "B")).pieces()) == [
        ("x", ""),
        ("$A", "A"),
        ("-", ""),
        ("${B}", "B"),
        ("$C", ""),
    ]
    again = pickle.loads(pickle.dumps(Referring("$A", ("A",))))
    assert (again, again.names) == ("$A", ("A",))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--profile-ranks 0 $MORE", {"profile_ranks": [0]}),
        ("--profile-ranks 0 $MORE 3", {"profile_ranks": [0, 3]}),
        ("--data-path $DATA ${EXTRA_ARGS}", {"data_path": ["$DATA"]}),
        ("--data-path 0.3 $A 0.7 $B", {"data_path": ["0.3", "$A", "0.7", "$B"]}),
    ],
)
def test_an_unset_variable_behind_many_values_is_no_word(words: str, values: dict[str, object]) -> None:
    from bridge_args.megatron_lm import catalog
    from bridge_args.megatron_lm.parse import parse

    source = read(f"torchrun pretrain_gpt.py {words} --seed 3\n")
    given = parse(source.command.argv, catalog.load("0.16.1"))
    assert not [finding for finding in given.findings if finding.level == "error"]
    assert {name: given.values[name] for name in values} == values and given.values["seed"] == 3
    dropped = [finding.message for finding in given.findings if "taken as empty" in finding.message]
    assert len(dropped) == sum("MORE" in word or "EXTRA" in word for word in words.split())


def test_a_first_number_that_nobody_sets_is_asked_for() -> None:
    from bridge_args.megatron_lm import catalog
    from bridge_args.megatron_lm.parse import parse

    source = read("torchrun pretrain_gpt.py --profile-ranks $MORE --seed 3\n")
    (problem,) = [f for f in parse(source.command.argv, catalog.load("0.16.1")).findings if f.level == "error"]
    assert "--profile-ranks needs a whole number, and $MORE is not known" in problem.message


# ---------------------------------------------------------------- one word, or several


@pytest.mark.parametrize("written", ["$DATA", '"$DATA"', "${DATA}", "pre$DATA", '$DATA "$DATA"'])
@pytest.mark.parametrize("value", ["0.5 a 0.5 b", "a", " a  b ", ""])
def test_a_variable_becomes_the_words_that_bash_makes_of_it(written: str, value: str) -> None:
    line = f"python pretrain_gpt.py --data-path {written} --seed 1"
    printed = subprocess.run(
        ["bash", "-c", f'python() {{ shift; printf "%s\\0" "$@"; }}\n{line}'],
        env={"DATA": value}, capture_output=True, text=True, check=True,
    ).stdout.split("\0")[:-1]  # fmt: skip
    for source in (read(f'DATA="{value}"\n{line}\n'), read(f"{line}\n", variables={"DATA": value})):
        assert [word.text for word in source.command.argv] == printed


@pytest.mark.parametrize(
    ("written", "told"),
    [("$DATA", True), ("${DATA}", True), ('"$DATA"', False), ("$DATA/x", False), ("$(ls /data)", True)],
)
def test_what_bash_may_make_several_words_of_is_told(written: str, told: bool) -> None:
    model = MODEL.replace("--mock-data", f"--data-path {written}")
    t = translated(read(f"python pretrain_gpt.py {model}\n"))
    assert any("bash splits what is not in quotes" in one.message for one in t.findings) == told
    # Of an argument with one value it would not be right anyway.
    t = translated(read(f"python pretrain_gpt.py {MODEL} --save {written}\n"))
    assert not any("bash splits what" in one.message for one in t.findings)


@pytest.mark.parametrize(
    ("written", "told"),
    [('"0.5 /d/a 0.5 /d/b"', True), ("0.5 /d/a 0.5 /d/b", False), ('"/d/my data"', False), ("/d/a", False)],
)
def test_weights_and_paths_in_one_word_are_told(written: str, told: bool) -> None:
    t = translated(read(f"python pretrain_gpt.py {MODEL.replace('--mock-data', f'--data-path {written}')}\n"))
    stops = [one.message for one in t.findings if one.kind == "stops-later"]
    assert [message.startswith(f"--data-path takes {written}, which is one word") for message in stops] == [True] * told
