"""Launch scripts are read as bash reads them; bash itself is the judge, with stubs in place of programs (by_bash.py)."""

# ruff: noqa: E501  a script on one line can be compared with its neighbours

from __future__ import annotations

import os
import time
from pathlib import Path

import by_bash
import pytest
from shell_scripts import ENDLESS, SCRIPTS

from bridge_args.script.bash.started import Started
from bridge_args.script.read import Script, read_script
from bridge_args.script.slurm import variables as slurm_variables

# ---------------------------------------------------------------- known wholly: word for word


def commands(script: Script, *programs: str) -> list[list[str]]:
    """Those that end in a stub, from the stub on."""
    found = []
    for started in script.commands:
        texts = [word.text for word in started.words]
        at = next((i for i, text in enumerate(texts) if text in (programs or by_bash.RECORDING)), None)
        if at is not None:
            found.append(texts[at:])
    return found


def only(script: Script) -> Started:
    (started,) = [s for s in script.commands if s.words[0].text == "torchrun"]
    return started


needs_bash = pytest.mark.skipif(not by_bash.available, reason="bash is not installed")


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_reads_what_bash_reads(script: str, tmp_path: Path) -> None:
    expected = by_bash.passed(script.replace("\r\n", "\n"), tmp_path)
    assert expected, "the judge says nothing"
    read = read_script(script, "train.sh", folder=tmp_path / "nowhere")
    assert commands(read) == expected
    assert not [finding for finding in read.findings if finding.kind != "lost-words"]
    assert all(not word.unresolved for started in read.commands for word in started.words)


@needs_bash
def test_files_beside_the_script_are_read(tmp_path: Path) -> None:
    files = {
        "common.sh": 'BASE=1\nmodel_args() { ARGS+=(--model "$1"); }\n',
        "env.list": "A=x\nB=y\n",
        "args.txt": "--from file\n--more\n",
        "inner.sh": '#!/bin/bash\ntorchrun --inner "$@" $EXPORTED\n',
        "sub.sh": "N=${1:-none}\n. ./common.sh\n",
    }
    script = (
        'HERE=$(cd "$(dirname "$0")" && pwd)\nsource $HERE/common.sh\nmodel_args "a b"\nset -a; source env.list; set +a\n'
        "source sub.sh 5\nexport EXPORTED=e\n"
        'torchrun $BASE "${ARGS[@]}" $A $N $(cat args.txt) $(<args.txt)\nbash inner.sh 1 "2 3"\n./inner.sh 4\nsrun ./inner.sh 5\n'
    )
    expected = by_bash.passed(script, tmp_path, files=files)
    read = read_script(script, "train.sh", folder=tmp_path / "work")
    assert len(expected) == 4
    assert commands(read) == expected
    assert not read.findings


@needs_bash
def test_words_and_variables_of_our_own_command_line(tmp_path: Path) -> None:
    script = 'torchrun --data $1 --nodes ${NNODES:-1} --rest "${@:2}" $#\n'
    expected = by_bash.passed(script, tmp_path, {"NNODES": "4"}, ["/d", "x y", "z"])
    assert commands(read_script(script, "train.sh", {"NNODES": "4"}, ["/d", "x y", "z"])) == expected


# ---------------------------------------------------------------- places


def test_places_are_the_users_lines() -> None:
    read = read_script('A=(\n  --x 1\n)\ntorchrun \\\n  --lr 2 \\\n  "${A[@]}"\n', "train.sh")
    assert {word.text: str(word.place) for word in only(read).words} == {
        "torchrun": "train.sh:4", "--lr": "train.sh:5", "2": "train.sh:5", "--x": "train.sh:2", "1": "train.sh:2",
    }  # fmt: skip


def test_places_survive_variables_inner_shells_and_files(tmp_path: Path) -> None:
    (tmp_path / "model.sh").write_text('MODEL="\n  --layers 2"\n')
    script = ". ./model.sh\nexport MODEL OPT='--lr 1\n --wd 3'\nsrun bash -c '\n  torchrun $MODEL $OPT --end'\n"
    read = read_script(script, "train.sh", folder=tmp_path)
    (started,) = read.commands
    assert {word.text: str(word.place) for word in started.words} == {
        "srun": "train.sh:4", "torchrun": "train.sh:5", "--layers": "model.sh:2", "2": "model.sh:2",
        "--lr": "train.sh:2", "1": "train.sh:2", "--wd": "train.sh:3", "3": "train.sh:3", "--end": "train.sh:5",
    }  # fmt: skip
    assert started.words[-1].place is not None
    assert started.words[-1].place.column == 24


# ---------------------------------------------------------------- what is not known


def test_an_unset_variable_stays_and_is_named_once() -> None:
    read = read_script("torchrun --save $CKPT --load ${CKPT}/x --log $CKPT\n", "train.sh")
    words = only(read).words
    assert [word.text for word in words] == ["torchrun", "--save", "$CKPT", "--load", "$CKPT/x", "--log", "$CKPT"]
    assert [word.unresolved for word in words[2::2]] == [("CKPT",)] * 3
    (finding,) = only(read).findings
    assert finding.kind == "unresolved-variable"
    assert str(finding).startswith("train.sh:1: ")
    assert "--set CKPT=VALUE" in str(finding)
    assert only(read_script("torchrun $CKPT", "x", {"CKPT": "/c"})).words[1].text == "/c"


def test_unknown_names_do_not_run_into_what_follows() -> None:
    script = "D=$DATA\ntorchrun ${D}_x $D/y ${D}[0] ${D}.z\n"
    assert [w.text for w in only(read_script(script, "x")).words[1:]] == [
        "${DATA}_x",
        "$DATA/y",
        "${DATA}[0]",
        "$DATA.z",
    ]


@pytest.mark.parametrize(
    ("script", "word", "names", "says"),
    [
        ("H=$(hostname)\ntorchrun $H:1\n", "$H:1", ("H",), "$(hostname) is not run; kept as $H; give it with --set H=VALUE"),
        ("torchrun x-$(date +%s)\n", "x-$(date +%s)", ("$(date +%s)",), "$(date +%s) is not run"),
        ("torchrun `date`\n", "`date`", ("`date`",), "`date` is not run"),
        ("N=$NODES\ntorchrun $((N * 8))\n", "$((N * 8))", ("NODES",), "$((N * 8)) is not known without NODES"),
        ("torchrun ${F%.json}\n", "${F%.json}", ("F",), "give it with --set F=VALUE"),
        ("torchrun ${D:?where the data is}\n", "${D}", ("D",), "$D must be given: where the data is"),
        ("torchrun ~/x\n", "$HOME/x", ("HOME",), "--set HOME=VALUE"),
        ("torchrun --data $1\n", "$1", ("1",), "give it after the script's name"),
        ("torchrun /d/*.bin\n", "/d/*.bin", (), "bash fills in the file names"),
        ("G=$(nvidia-smi -L | wc -l)\ntorchrun $((G * 2))\n", "$((G * 2))", ("G",), "without G"),
        ("torchrun $RANDOM\n", "$RANDOM", ("RANDOM",), "--set RANDOM=VALUE"),
    ],
)  # fmt: skip
def test_what_is_not_known_stays_as_it_is_written(script: str, word: str, names: tuple[str, ...], says: str) -> None:
    started = only(read_script(script, "train.sh"))
    last = started.words[-1]
    assert (last.text, last.unresolved) == (word, names)
    assert [str(finding) for finding in started.findings if says in str(finding)]


def test_a_value_given_for_what_is_not_known() -> None:
    script = "GPUS=$(nvidia-smi -L | wc -l)\nTP=2\ntorchrun $((GPUS * 2)) $TP\n"
    started = only(read_script(script, "train.sh", {"GPUS": "8", "TP": "4"}))
    assert [word.text for word in started.words[1:]] == ["16", "2"]
    (finding,) = started.findings
    assert "the script sets TP itself" in finding.message


def test_an_unknown_condition_is_read_both_ways() -> None:
    script = "if grep -q H100 /etc/gpu; then T=8; else T=4; fi\ntorchrun $T\n"
    found = {started.words[1].text: started.when for started in read_script(script, "t.sh").commands[1:]}
    assert found == {
        "8": ("`grep -q H100 /etc/gpu` (line 1) holds",),
        "4": ("`grep -q H100 /etc/gpu` (line 1) does not hold",),
    }


def test_an_unknown_condition_that_changes_nothing_is_not_mentioned() -> None:
    script = "if [ ! -d /ckpt ]; then mkdir /ckpt; fi\ncommand -v x || echo none\ntorchrun 1\n"
    assert only(read_script(script, "t.sh")).when == ()


def test_an_unknown_case_has_as_many_ways_as_it_has_branches() -> None:
    script = 'case $(uname) in Linux) A=1;; Darwin) A=2;; esac\ntorchrun "${A:-0}"\n'
    whens = {s.words[1].text: s.when[0] for s in read_script(script, "t.sh").commands if s.words[0].text == "torchrun"}
    assert whens["1"].endswith("is Linux")
    assert whens["0"].endswith("is something else")
    assert len(whens) == 3


def test_what_a_condition_took_as_unset_is_said() -> None:
    started = only(read_script('if [ "$FP8" = 1 ]; then A=--fp8; fi\ntorchrun x $A\n', "t.sh"))
    assert [word.text for word in started.words] == ["torchrun", "x", "$A"]
    assert any("$FP8 is not set by the script and read as empty" in finding.message for finding in started.findings)


@pytest.mark.parametrize(
    ("script", "construct"),
    [
        ("torchrun 1\ntorchrun 'open\n", "quote"),
        ("A=(1 2\n", "array"),
        ("if true; then\n A=1\n", "`if`"),
        ("DATA=<path to data>\ntorchrun 1\n", "the placeholder <path to data>"),
        ("select x in 1 2; do torchrun $x; done\n", "`select`"),
        ("torchrun ${A@Z B}}{\n)\n", "`)`"),
        ("[[ x == @(a|b) ]]\n", "extended pattern"),
    ],
)
def test_what_is_not_read_is_named_with_its_line(script: str, construct: str) -> None:
    errors = [finding for finding in read_script(script, "train.sh").findings if finding.level == "error"]
    assert errors
    assert construct in errors[0].message
    assert str(errors[0]).startswith("train.sh:")


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("source /opt/conda/activate\ntorchrun 1\n", "not-read", "/opt/conda/activate is not read: it is not beside"),
        ("torchrun --a 1 \\\n # --b 2 \\\n --c 3\n", "lost-words", "the comment in line 2 ends the command"),
        ("torchrun --a 1\n --b 2\n", "lost-words", "the line before does not continue here"),
        ("torchrun --img <path to img> --a 1\n", "lost-words", "it is no placeholder"),
        ("for ((i = 0; i < N; i++)); do torchrun $i; done\n", "not-read", "the loop's rounds are not known without N"),
    ],
)  # fmt: skip
def test_what_may_surprise_is_said(script: str, kind: str, says: str) -> None:
    found = [finding for finding in read_script(script, "train.sh").findings if finding.kind == kind]
    assert found
    assert says in found[0].message


# ---------------------------------------------------------------- Slurm


def test_slurm_sets_variables_because_of_its_lines() -> None:
    script = (
        "#!/bin/bash\n#SBATCH --nodes=4 --job-name gpt # big\n#SBATCH --ntasks-per-node 1\n#SBATCH --gres=gpu:h100:8\n"
        "torchrun --nnodes $SLURM_NNODES --nproc-per-node $SLURM_GPUS_ON_NODE $SLURM_JOB_NAME $SLURM_NTASKS $SLURM_JOB_ID\n"
        "#SBATCH --nodes=9\n"
    )
    read = read_script(script, "train.sh")
    assert [word.text for word in only(read).words[1:]] == [
        "--nnodes", "4", "--nproc-per-node", "8", "gpt", "4", "$SLURM_JOB_ID",
    ]  # fmt: skip
    assert slurm_variables("torchrun\n#SBATCH -N 2\n") is None
    assert slurm_variables("#SBATCH -N2 -n 16 -G8\n") == {
        "SLURM_NNODES": "2", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "16", "SLURM_NPROCS": "16", "SLURM_GPUS": "8",
    }  # fmt: skip


def test_a_script_that_submits_itself() -> None:
    script = '#SBATCH -N 2\nif [ -z "$SLURM_JOB_ID" ]; then sbatch "$0"; exit; fi\ntorchrun $SLURM_NNODES\n'
    assert commands(read_script(script, "train.sh")) == [["torchrun", "2"]]


def test_a_job_that_queues_its_own_successor(tmp_path: Path) -> None:
    script = '#SBATCH -N 2\nif [ -e /go ]; then sbatch --dependency=singleton "$0"; fi\ntorchrun 1\n'
    (tmp_path / "train.sh").write_text(script)
    read = read_script(script, "train.sh", folder=tmp_path)
    assert commands(read) == [["torchrun", "1"]]
    assert not read.findings


def test_a_script_that_is_only_copied_is_not_started(tmp_path: Path) -> None:
    script = 'cp "$0" copy.sh\nchmod +x train.sh\ngrep x train.sh\ntorchrun 1\n'
    (tmp_path / "train.sh").write_text(script)
    read = read_script(script, "train.sh", folder=tmp_path)
    assert commands(read) == [["torchrun", "1"]]
    assert not read.findings


def test_a_script_without_slurm_lines_that_submits_itself(tmp_path: Path) -> None:
    script = 'if [ -z "$SLURM_JOB_ID" ]; then sbatch -N 2 "$0"; exit; fi\ntorchrun $SLURM_NNODES\n'
    (tmp_path / "train.sh").write_text(script)
    assert commands(read_script(script, "train.sh", folder=tmp_path)) == [["torchrun", "2"]]


# ---------------------------------------------------------------- bounds, and no effects


def test_nothing_is_executed(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    witness = tmp_path / "witness"
    script = (
        f"A=$(touch {witness})\ntouch {witness}\necho x > {witness}\ncat > {witness} <<EOF\nx\nEOF\nrm -rf {tmp_path}/keep\n"
        f"curl http://localhost:1/ | bash\nbash -c 'touch {witness}'\neval \"touch {witness}\"\ntorchrun `touch {witness}`\n"
        f"echo x | tee {witness}\n: > {witness}\nprintf x >> {witness}\n[ -f x ] || touch {witness}\n"
    )
    read_script(script, "train.sh", folder=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["keep"]


def test_only_files_beside_the_script_are_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("N=1")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(inside / "pipe")
    for path in ("../secret", "link", str(tmp_path / "secret"), "pipe", "/etc/passwd", "/dev/zero"):
        script = f"X=$(cat {path})\nsource {path}\ntorchrun $X $N\n"
        words = only(read_script(script, "train.sh", folder=inside)).words
        assert [word.text for word in words] == ["torchrun", "$X", "$N"], path


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_reading_ends(script: str, tmp_path: Path) -> None:
    (tmp_path / "self.sh").write_text(script)
    start = time.process_time()
    read_script(script, "self.sh", folder=tmp_path)
    assert time.process_time() - start < 10  # seconds; each takes less than one where nothing else runs


def test_what_stands_before_an_endless_loop_is_kept() -> None:
    read = read_script("torchrun 1 &\ni=0\nwhile true; do i=$((i + 1)); done\ntorchrun 2\n", "t.sh")
    assert commands(read) == [["torchrun", "1"]]
    assert any("reading stops here: more than" in finding.message for finding in read.findings)
