"""``modernize`` in the user's own file: real bash passes the words that are meant, and no other line has changed."""

from __future__ import annotations

import difflib
from pathlib import Path

import by_bash
import pytest

from bridge_args.modernize import move
from bridge_args.steps import Asked

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --max-position-embeddings 128 "
    "--micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --lr 1e-4 --optimizer muon"
)
OLD = "--muon-use-nesterov --moe-extended-tp --vocab-size 128 --global-batch-size 16 --train-iters 10"
RUN = "torchrun --nproc_per_node 1 pretrain_gpt.py"
BY_LINE = "\n".join(f"    --{flag.rstrip()}" for flag in f" {SMALL} {OLD}".split(" --")[1:])
CONTINUED = " \\\n".join(f"    --{flag.rstrip()}" for flag in f" {SMALL} {OLD}".split(" --")[1:])
COMMENTED = BY_LINE.replace("\n", " # why\n")

# A script in which every word stands somewhere as it is.
SCRIPTS = {
    "one line": f"{RUN} {SMALL} {OLD}\n",
    "no line end": f"{RUN} {SMALL} {OLD}",
    "the other way round": f"{RUN} {OLD} {SMALL}\n",
    "continued lines": f"{RUN} \\\n{CONTINUED}\n",
    "continued lines, backslash at the end": f"{RUN} \\\n{CONTINUED} \\\n\necho done\n",
    "continued lines with tabs": f"{RUN} \\\n{CONTINUED}\n".replace("    ", "\t"),
    "continued, and output to a file": f"{RUN} \\\n{CONTINUED} \\\n    2>&1 | tee log.txt\n",
    "an array": f'ARGS=(\n{BY_LINE}\n)\n{RUN} "${{ARGS[@]}}"\n',
    "an array with comments": f"ARGS=(  # the model\n{COMMENTED}\n)\n{RUN} ${{ARGS[@]}}\n",
    "an array on one line": f"ARGS=({SMALL} {OLD})\n{RUN} ${{ARGS[@]}}\n",
    "an array, closed behind its last word": f"ARGS=(\n{BY_LINE})\n{RUN} ${{ARGS[@]}}\n",
    "an array that grows": f'ARGS=({SMALL})\nARGS+=(\n    {OLD}\n)\n{RUN} "${{ARGS[@]}}"\n',
    "quoted words": f"ARGS=(\n{BY_LINE}\n)\n".replace("--moe-extended-tp", "'--moe-extended-tp'").replace(
        "--muon-use-nesterov", '"--muon-use-nesterov"'
    )
    + f'{RUN} "${{ARGS[@]}}"\n',
    "a text": f'ARGS="{SMALL} {OLD}"\n{RUN} $ARGS\n',
    "a text, and the old words first": f'ARGS="{OLD} {SMALL}"\n{RUN} $ARGS\n',
    "a text in single quotes": f"ARGS='{SMALL} {OLD}'\n{RUN} $ARGS\n",
    "a text of lines": f'ARGS="\n{BY_LINE}\n"\n{RUN} $ARGS\n',
    "a text of continued lines": f'ARGS="\\\n{CONTINUED}\\\n"\n{RUN} $ARGS\n',
    "two texts": f'MODEL="{SMALL}"\nOTHER="{OLD}"\n{RUN} $MODEL $OTHER\n',
    "a text of nothing but an old word": f'O="--moe-extended-tp"\n{RUN} {SMALL} $O --vocab-size 8 --train-iters 3\n',
    "a text that grows": f'ARGS="{SMALL}"\nARGS="$ARGS {OLD}"\n{RUN} $ARGS\n',
    "a text with +=": f'ARGS="{SMALL}"\nARGS+=" {OLD}"\n{RUN} $ARGS\n',
    "a value of its own": f"V=128\n{RUN} {SMALL} --vocab-size $V --train-iters 3\n",
    "a value in quotes": f'{RUN} {SMALL} --vocab-size "128" --train-iters 3\n',
    "a value with =": f"{RUN} {SMALL} --vocab-size=128 --train-iters=3\n",
    "a default": f"{RUN} {SMALL} --vocab-size ${{VOCAB:-128}} --train-iters 3\n",
    "a function": f'train() {{\n    {RUN} {SMALL} {OLD} "$@"\n}}\ntrain --seed 5\n',
    "words from a function": f"words() {{\n    echo {OLD}\n}}\n{RUN} {SMALL} $(words)\n",
    "a condition": f"if true; then\n    MORE='{OLD}'\nelse\n    MORE=\nfi\n{RUN} {SMALL} $MORE\n",
    "a case": f"SIZE=s\ncase $SIZE in\n    s) MORE='{OLD}' ;;\n    *) exit 1 ;;\nesac\n{RUN} {SMALL} $MORE\n",
    "eval": f'CMD="{RUN} {SMALL} {OLD}"\neval $CMD\n',
    "a command in a text": f'CMD="{RUN} {SMALL} {OLD}"\necho $CMD\n$CMD\n',
    "an inner shell": f"bash -c '{RUN} {SMALL} {OLD}'\n",
    "an inner shell in double quotes": f'bash -c "{RUN} {SMALL} {OLD}"\n',
    "srun": f"#SBATCH --nodes=1\nsrun --ntasks=1 bash -c '{RUN} {SMALL} {OLD}'\n",
    "variables in front": f"CUDA_DEVICE_MAX_CONNECTIONS=1 {RUN} {SMALL} {OLD}\n",
    "exec": f"exec {RUN} {SMALL} {OLD}\n",
    "in the background": f"{RUN} {SMALL} {OLD} &\nwait\n",
    "a loop over one value": f"for V in 128; do\n    {RUN} {SMALL} --vocab-size $V --train-iters 3\ndone\n",
    "a heredoc that is sourced": f"cat > env.sh <<'EOF'\nARGS='{SMALL} {OLD}'\nEOF\n. ./env.sh\n{RUN} $ARGS\n",
    "set --": f'set -- {SMALL} {OLD}\n{RUN} "$@"\n',
    "braces": f"{RUN} {SMALL} {OLD} --profile-ranks {{0,0}}\n",
    "words behind the changed ones": f"{RUN} {OLD} \\\n    {SMALL} --save '/a b' --save-interval 5\n",
}


def moved(folder: Path, text: str, files: dict[str, str] | None = None) -> move.Moved:
    for name, content in {"train.sh": text, **(files or {})}.items():
        (folder / name).write_text(content, newline="")
    return move.moved(move.text_of(str(folder / "train.sh")), Asked(megatron_lm="0.16.1"), "0.19.0")


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_passes_the_words_that_are_meant(name: str, tmp_path: Path) -> None:
    text = SCRIPTS[name]
    (tmp_path / "here").mkdir()
    found = moved(tmp_path / "here", text)
    assert found.is_same_run, (found.not_done, found.plans)
    after = found.files[0].after
    (plan,) = found.plans
    gone = {"--muon-use-nesterov", "--moe-extended-tp"} & set(text.replace('"', " ").replace("'", " ").split())
    assert not gone & set(plan.argv) and gone <= {word for item in plan.items for word in item.was}
    judge = by_bash.Judge(tmp_path)
    (before,) = judge.passed(text)
    (words,) = judge.passed(after)
    at = words.index("pretrain_gpt.py") + 1
    assert words[:at] == before[:at]
    assert before[at:] == [word for item in plan.items for word in item.was]
    assert sorted(words[at:]) == sorted(plan.argv)
    kept = [item.words for item in plan.items if item.words]
    joined = "\0".join(["", *words[at:], ""])
    assert all(f"\0{chr(0).join(item)}\0" in joined for item in kept), "a flag and its values stay together"
    assert after.endswith("\n") == text.endswith("\n")
    # Nothing but lines with a changed word, and those that words are added to.
    lines = list(difflib.ndiff(text.splitlines(), after.splitlines()))
    new = tuple(line[2:] for line in lines if line.startswith("+ "))
    said = {word for item in plan.changed for word in item.was}
    for line in (line[2:] for line in lines if line.startswith("- ")):
        bare = line.rstrip(" \\\")'").strip()
        assert any(word in line for word in said) or any(bare in one for one in new), line


def test_nothing_to_change_changes_nothing(tmp_path: Path) -> None:
    text = f"{RUN} {SMALL} --vocab-size 128 --train-iters 3 --enable-msc\n"
    (tmp_path / "train.sh").write_text(text)
    found = move.moved(move.text_of(str(tmp_path / "train.sh")), Asked(megatron_lm="0.18.2"), "0.19.0")
    assert found.is_same_run and not found.changed and not found.plans[0].changed


@pytest.mark.parametrize("name", ["an array", "continued lines", "an array with comments", "a text of lines"])
def test_line_ends_stay_as_they_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "unix").mkdir()
    (tmp_path / "dos").mkdir()
    unix = moved(tmp_path / "unix", SCRIPTS[name]).files[0].after
    dos = moved(tmp_path / "dos", SCRIPTS[name].replace("\n", "\r\n")).files[0].after
    assert dos == unix.replace("\n", "\r\n") and "\r\n" in dos


# What is made of parts, or is not the same each time, is not guessed.
ELSEWHERE = {
    "a flag of parts": (f"A=muon\n{RUN} {SMALL} --$A-use-nesterov --train-iters 3\n", "--muon-use-nesterov", 2),
    "a computed value": (f"{RUN} {SMALL} --vocab-size $((64 * 2)) --train-iters 3\n", "--vocab-size 128", 1),
    "a replaced text": (
        f'W="--muon_use_nesterov"\n{RUN} {SMALL} ${{W//_/-}} --train-iters 3\n', "--muon-use-nesterov", 1
    ),
    "a value that others use": (
        f"V=128\n{RUN} {SMALL} --vocab-size $V --train-iters $V\n", "--vocab-size 128", 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_made_elsewhere_is_named_and_left(name: str, tmp_path: Path) -> None:
    text, old, line = ELSEWHERE[name]
    found = moved(tmp_path, text)
    (one,) = found.not_done
    assert " ".join(one.item.was) == old and one.place is not None and one.place.line == line
    assert not found.is_same_run
    assert [line for line in text.splitlines() if line not in found.files[0].after.splitlines()] == [
        line for line in text.splitlines() if "torchrun" in line
    ]  # where --enable-msc has come
    judge = by_bash.Judge(tmp_path)
    ((*before,),), ((*after,),) = judge.passed(text), judge.passed(found.files[0].after)
    assert [word for word in after if word != "--enable-msc"] == before


def test_files_that_a_script_reads(tmp_path: Path) -> None:
    """The edit is made where the words are; both files are told of, and the other one's line ends stay."""
    other = f"# the model\r\nMODEL=({SMALL}\r\n    --muon-use-nesterov\r\n)\r\n".replace("\r", "")
    found = moved(tmp_path, f'source ./model.sh\n{RUN} "${{MODEL[@]}}" --train-iters 3\n', {"model.sh": other})
    assert found.is_same_run
    assert {file.name: "--muon-nesterov" in file.after for file in found.files} == {
        str(tmp_path / "train.sh"): False, "model.sh": True,
    }  # fmt: skip
    written = move.write(found)
    assert (tmp_path / "model.sh").read_text() == other.replace("--muon-use-nesterov", "--muon-nesterov")
    assert (tmp_path / "model.sh.bak").read_text() == other and len(written) == 2


def test_commands_that_share_words(tmp_path: Path) -> None:
    text = (
        f"ARGS=({SMALL} --muon-use-nesterov --train-iters 3)\n"
        f'{RUN} "${{ARGS[@]}}" --seed 1\n{RUN} "${{ARGS[@]}}" --seed 2 --moe-extended-tp\n'
    )
    found = moved(tmp_path, text)
    assert found.is_same_run and len(found.plans) == 2
    judge = by_bash.Judge(tmp_path)
    words = judge.passed(found.files[0].after)
    assert [sorted(one[4:]) for one in words] == [sorted(plan.argv) for plan in found.plans]
    again = move.moved(move.Text("x.sh", None, found.files[0].after), Asked(megatron_lm="0.19.0"), "0.19.0")
    assert again.is_same_run and not again.changed


def test_yaml(tmp_path: Path) -> None:
    lines = "\n".join(f"  --{flag.strip().replace(' ', ': ', 1)}" for flag in f" {SMALL}".split(" --")[1:])
    lines = lines.replace("--mock-data", "--mock-data: true")
    text = (
        f"ENV_VARS:\n  CUDA_DEVICE_MAX_CONNECTIONS: 1\nMODEL_ARGS:\n{lines}\n"
        "  --muon-use-nesterov: true\n  --moe-extended-tp: true  # gone\n  --train-iters: 3\n"
    )
    (tmp_path / "model_config.yaml").write_text(text)
    found = move.moved(move.text_of(str(tmp_path / "model_config.yaml")), Asked(megatron_lm="0.16.1"), "0.19.0")
    assert found.is_same_run, found.not_done
    after = found.files[0].after
    assert "  --muon-nesterov: true\n" in after and "moe-extended" not in after and "  --enable-msc: true\n" in after
    assert [line for line in after.splitlines() if line not in text.splitlines()] == [
        "  --muon-nesterov: true", "  --enable-msc: true",
    ]  # fmt: skip


def test_kubernetes(tmp_path: Path) -> None:
    """An argument of a container is a text: a number gets quotes, and so does a pattern, which YAML would misread."""
    words = f"{SMALL.replace(' --optimizer muon', '')} --vocab-size 128 --train-iters 3".split()
    args = "".join(f"        - {word}\n" if word.startswith("--") else f'        - "{word}"\n' for word in words)
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n    - name: train\n      image: y\n"
        f'      command: ["torchrun", "--nproc-per-node=1", "pretrain_gpt.py"]\n      args:\n{args}'
    )
    (tmp_path / "job.yaml").write_text(text)
    found = move.moved(move.text_of(str(tmp_path / "job.yaml")), Asked(megatron_lm="0.11.0"), "0.19.0")
    assert not found.not_done and '        - --eval-interval\n        - "1000"\n' in found.files[0].after
    pattern = move.moved(move.text_of(str(tmp_path / "job.yaml")), Asked(megatron_lm="0.16.1"), "0.19.0", True)
    assert "pretrain_hybrid.py" in pattern.files[0].after and not pattern.plans[0].to_start
    assert not pattern.not_done and '        - --hybrid-layer-pattern\n        - "*-*-"\n' in pattern.files[0].after


def test_a_shell_in_a_container(tmp_path: Path) -> None:
    words = f"{SMALL.replace(' --optimizer muon', '')} --vocab-size 128 --train-iters 3"
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n    - name: train\n      image: y\n"
        f"      command: [bash, -c]\n      args:\n        - |\n          export A=1\n          {RUN} {words}\n"
    )
    (tmp_path / "job.yaml").write_text(text)
    found = move.moved(move.text_of(str(tmp_path / "job.yaml")), Asked(megatron_lm="0.16.1"), "0.19.0", True)
    assert found.is_same_run, found.not_done
    line = found.files[0].after.splitlines()[-1]
    assert line.startswith("          torchrun --nproc_per_node 1 pretrain_hybrid.py --hidden-size 64 ")
    assert "--vocab-size 129" in line and "--num-layers" not in line and "'*-*-'" in line


def test_a_backup_is_never_written_over(tmp_path: Path) -> None:
    text = SCRIPTS["one line"]
    (tmp_path / "train.sh.bak").write_text("older")
    found = moved(tmp_path, text)
    (tmp_path / "train.sh").chmod(0o750)
    ((path, backup),) = move.write(found)
    assert (backup.name, backup.read_text()) == ("train.sh.bak1", text)
    assert (tmp_path / "train.sh.bak").read_text() == "older" and path.read_text() == found.files[0].after
    assert path.stat().st_mode & 0o777 == 0o750
    with pytest.raises(move.UserError, match="has changed"):
        move.write(found)


def test_several_added_words_stay_with_their_flags(tmp_path: Path) -> None:
    """They come into an array, and other words stand behind it: no flag may lose its value."""
    text = f'ARGS=(\n    --train-iters 3\n)\n{RUN} "${{ARGS[@]}}" {SMALL} $(printf -- "--seed 5")\n'
    (tmp_path / "train.sh").write_text(text)
    found = move.moved(move.text_of(str(tmp_path / "train.sh")), Asked(megatron_lm="0.16.1"), "0.19.0", True)
    assert found.is_same_run, found.not_done
    ((*words,),) = by_bash.Judge(tmp_path).passed(found.files[0].after)
    joined = "\0".join([*words, ""])
    (plan,) = found.plans
    assert sorted(words[4:]) == sorted(plan.argv) and words[3] == "pretrain_hybrid.py"
    assert all("\0".join([*item.words, ""]) in joined for item in plan.items if item.words)
    assert sum(not item.was for item in plan.items) >= 2
