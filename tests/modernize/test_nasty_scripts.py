"""Scripts in the less usual ways of shells: where bash passes other words, they are the ones that are meant.

Each is moved from 0.16.1 to 0.19.0, and once more to a hybrid model. What cannot be changed where it is written is
named, and nothing is guessed.
"""

from __future__ import annotations

import difflib
import re
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


def by_line(words: str, indent: str = "    ", end: str = "") -> str:
    return "\n".join(f"{indent}--{flag.rstrip()}{end}" for flag in f" {words}".split(" --")[1:])


LINES = by_line(f"{SMALL} {OLD}")
CONTINUED = by_line(f"{SMALL} {OLD}", end=" \\").removesuffix(" \\")

SCRIPTS = {
    "a local array of a function": f'train() {{\n    local -a args=(\n{LINES}\n    )\n    args+=("$@")\n'
    f'    {RUN} "${{args[@]}}"\n}}\ntrain --seed 5\n',
    "a local text of a function": f"train() {{\n    local args='{SMALL}'\n    local more=\"{OLD}\"\n"
    f'    {RUN} $args $more "${{@:2}}"\n}}\ntrain first --seed 5\n',
    "set, and shift": f'set -- first {SMALL} {OLD}\nshift\n{RUN} "$@"\n',
    "texts that grow": 'A="--num-layers 2"\n'
    + "".join(f'A+=" {flag.strip()}"\n' for flag in by_line(f"{SMALL} {OLD}").splitlines()[1:])
    + f"{RUN} $A\n",
    "an array that grows by conditions": f"A=({SMALL})\n[[ -n $A || 1 == 1 ]] && A+=(--moe-extended-tp)\n"
    "B=1\n[ $B -eq 1 ] && A+=(--muon-use-nesterov)\n((B)) && A+=(--vocab-size 128 --train-iters 3)\n"
    f'{RUN} "${{A[@]}}"\n',
    "a heredoc that makes a script": f"cat > run.sh <<EOF\n#!/bin/bash\n{RUN} {SMALL} \\\\\n    {OLD} \\$@\nEOF\n"
    "bash run.sh --seed 5\n",
    "a quoted heredoc that makes a script": f"cat > run.sh <<'EOF'\n{RUN} {SMALL} \\\n    {OLD} $@\nEOF\n"
    "bash run.sh --seed 5\n",
    "an inner shell that reads a heredoc": f"bash <<'EOF'\n{RUN} {SMALL} \\\n    {OLD}\nEOF\n",
    "getopts": "SEED=1\nwhile getopts 's:' o; do\n    case $o in\n        s) SEED=$OPTARG ;;\n        *) exit 2 ;;\n"
    f'    esac\ndone\nshift $((OPTIND - 1))\n{RUN} {SMALL} {OLD} --seed $SEED "$@"\n',
    "a case that falls through": f"case moe-8x7b in\n    moe-*) A='{SMALL}' ;;&\n    *8x7b) B='{OLD}' ;;\n"
    f"    *) exit 1 ;;\nesac\n{RUN} $A $B\n",
    "eval of quotes": f"A='{SMALL}'\nB='{OLD}'\neval \"{RUN} $A $B --seed '5'\"\n",
    "an inner shell with quotes inside": f'srun --ntasks=1 bash -c "\n    export A=\\"a b\\"\n    {RUN} {SMALL} \\\\\n'
    f'        {OLD} --wandb-exp-name \\"a b\\"\n"\n',
    "inner shells in one another": f"srun --ntasks=1 bash -c 'bash -c \"{RUN} {SMALL} {OLD}\"'\n",
    "comments between continued lines": f"{RUN} \\\n    {SMALL} `# the model` \\\n    --moe-extended-tp `# gone` \\\n"
    "    --vocab-size 128 --train-iters 3\n",
    "comments between the lines of an array": f"A=(\n    # the model\n    {SMALL}\n\n    # --moe-extended-tp\n"
    f"    --moe-extended-tp  # experts\n    # the end\n    --vocab-size 128\n)\n{RUN} ${{A[@]}} --train-iters 3\n",
    "tabs": f"A=(\n\t{SMALL}\n\t\t--moe-extended-tp\t# why\n\t--vocab-size\t128\n)\n"
    f"{RUN}\t${{A[@]}}\t--train-iters\t3\n",
    "no end": f"{RUN} \\\n{CONTINUED} \\",
    "letters of other languages": f"# Größe, 模型 😀\n{RUN} --wandb-exp-name 'Größe 模型 😀' {SMALL} --moe-extended-tp "
    "--vocab-size 128 --train-iters 3 # ö\n",
    "a loop over the words": f'A=()\nfor w in {SMALL} {OLD}; do\n    A+=("$w")\ndone\n{RUN} "${{A[@]}}"\n',
    "words if something is given": f"M=1 V=128\n{RUN} {SMALL} ${{M:+--moe-extended-tp}} ${{V:+--vocab-size $V}} "
    "--train-iters 3\n",
    "words unless something is given": f"A=${{A:---moe-extended-tp --muon-use-nesterov --vocab-size 128}}\n"
    f"{RUN} {SMALL} $A --train-iters 3\n",
    "read from a here-string": f'read -ra A <<< "{SMALL} {OLD}"\n{RUN} "${{A[@]}}"\n',
    "read from a heredoc": f"mapfile -t A <<'EOF'\n{by_line(f'{SMALL} {OLD}', '').replace(' ', chr(10))}\nEOF\n"
    f'{RUN} "${{A[@]}}"\n',
    "a text from cat and a heredoc": f"A=$(cat <<'EOF'\n{LINES}\nEOF\n)\n{RUN} $A\n",
    "printf -v": f"printf -v A '%s ' {SMALL} {OLD}\n{RUN} $A\n",
    "a variable by its name": f"BIG='{SMALL}'\nSMALL='{SMALL}'\nOLD='{OLD}'\nSIZE=SMALL\n{RUN} ${{!SIZE}} $OLD\n",
    "an associative array, by key": f"declare -A M=([size]='{SMALL}' [more]='{OLD}')\n"
    f"{RUN} ${{M[size]}} ${{M[more]}}\n",
    "a subshell": f"(cd /tmp && export A=1 && {RUN} {SMALL} {OLD})\n",
    "a condition": f"if ! {RUN} {SMALL} {OLD}; then\n    echo failed\n    exit 1\nfi\n",
    "the command in an array": f"CMD=(\n    torchrun\n    --nproc_per_node 1\n    pretrain_gpt.py\n{LINES}\n)\n"
    'echo "${CMD[@]}"\n"${CMD[@]}" 2>&1 | tee log\n',
    "quotes of C": f"A=($'--moe-extended-tp' $'--vocab-size' $'128')\n{RUN} {SMALL} \"${{A[@]}}\" --train-iters 3\n",
    "all of an array as a text": f'A=({SMALL})\nB=({OLD})\nALL="${{A[*]}} ${{B[*]}}"\n{RUN} $ALL\n',
    "readonly and export": f"readonly A='{SMALL}'\nexport B='{OLD}'\ndeclare -r C=1\n{RUN} $A $B --seed $C\n",
    "several commands on a line": f"set -x; A='{OLD}'; {RUN} {SMALL} $A; echo done\n",
    "a pipe into a shell": f'echo "{RUN} {SMALL} {OLD}" | bash\n',
    "a process substitution": f"mapfile -t A < <(printf '%s\\n' {SMALL} {OLD})\n{RUN} \"${{A[@]}}\"\n",
    "read line by line": "A=()\nwhile IFS= read -r line; do\n    [[ -z $line || $line == \\#* ]] && continue\n"
    f"    A+=($line)\ndone <<'EOF'\n# the model\n\n{LINES}\nEOF\n{RUN} \"${{A[@]}}\"\n",
    "printed by a function": f"args() {{ printf '%s ' {SMALL} {OLD}; }}\n{RUN} $(args)\n",
    "a default in a default": f"{RUN} {SMALL} --vocab-size ${{A:-${{B:-128}}}} --moe-extended-tp --train-iters 3\n",
    "a slice of an array": f'A=(first {SMALL} {OLD})\n{RUN} "${{A[@]:1}}"\n',
    "a name in braces and quotes": f'A="{SMALL} {OLD}"\n{RUN} ${{A}} --save "${{WHERE:-/x}}/a b" --save-interval 5\n',
}

# With files beside the script.
FILES = {
    "a sourced file beside it": (
        f'cd "$(dirname "$0")"\n. conf/model.sh\n{RUN} "${{MODEL[@]}}" --train-iters 3\n',
        {"conf/model.sh": f"# the model\nMODEL=(\n{by_line(SMALL)}\n    --moe-extended-tp\n    --vocab-size 128\n)\n"},
    ),
    "words of a file": (
        f"{RUN} $(cat args.txt) --train-iters 3\n",
        {"args.txt": f"{by_line(SMALL, '')}\n--moe-extended-tp\n--vocab-size 128\n"},
    ),
    "words of a file, read": (
        f'mapfile -t A < args.txt\n{RUN} {SMALL} "${{A[@]}}" --train-iters 3\n',
        {"args.txt": "--moe-extended-tp\n--vocab-size\n128\n"},
    ),
}  # fmt: skip


def moved(folder: Path, text: str, files: dict[str, str], to_hybrid: bool) -> move.Moved:
    for name, content in {"train.sh": text, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, newline="")
    return move.moved(move.text_of(str(folder / "train.sh")), Asked(megatron_lm="0.16.1"), "0.19.0", to_hybrid)


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("to_hybrid", [False, True], ids=["moved", "to hybrid"])
@pytest.mark.parametrize("name", [*SCRIPTS, *FILES])
def test_bash_passes_the_words_that_are_meant(name: str, to_hybrid: bool, tmp_path: Path) -> None:
    text, files = FILES.get(name) or (SCRIPTS[name], {})
    (tmp_path / "here").mkdir()
    found = moved(tmp_path / "here", text, files, to_hybrid)
    assert found.is_same_run, (found.not_done, found.plans)
    (plan,) = found.plans
    after = {file.name: file.after for file in found.files}
    after = {**files, **{name: text for name, text in after.items() if name in files}}
    judge = by_bash.Judge(tmp_path)
    other = {"x-y-": "", "run-z-": ""}  # which a pattern without quotes would become
    (before,) = judge.passed(text, files={**files, **other})
    (words,) = judge.passed(found.files[0].after, files={**after, **other})
    at = before.index("pretrain_gpt.py")
    assert before[at + 1 :] == [word for item in plan.items for word in item.was]
    assert words[at] == ("pretrain_hybrid.py" if to_hybrid else "pretrain_gpt.py") and words[:at] == before[:at]
    assert sorted(words[at + 1 :]) == sorted(plan.argv)
    joined = "\0".join(["", *words, ""])
    assert all(f"\0{chr(0).join(item.words)}\0" in joined for item in plan.items if item.words)
    assert "--moe-extended-tp" not in words
    for file in found.files:
        assert file.after.endswith("\n") == file.before.endswith("\n")
        said = {word for item in plan.changed for word in (*item.was, *item.words)}
        changes = [*difflib.ndiff(file.before.splitlines(), file.after.splitlines())]
        new = [line[2:] for line in changes if line.startswith("+ ")]
        for line in (line[2:] for line in changes if line.startswith("- ")):
            bare = re.sub(r"[\s\\\")']*$", "", line).strip()
            assert any(word in line for word in said) or any(bare in one for one in new), line


@pytest.mark.parametrize("use", ["$LAYERS", "${LAYERS}", '"$LAYERS"'])
def test_a_variable_of_a_flag_that_goes_stays(use: str, tmp_path: Path) -> None:
    """It may be for more than the flag; and a value of nothing would be a trap."""
    text = f"LAYERS=2\n{RUN} \\\n    {SMALL.replace('--num-layers 2', f'--num-layers {use}')} --train-iters 3\n"
    found = moved(tmp_path, text.replace("--optimizer muon", f"{OLD}"), {}, True)
    after = found.files[0].after
    assert found.is_same_run and after.startswith("LAYERS=2\n") and "LAYERS" not in after.partition("\n")[2]


# What is made of parts is named, and the file is not guessed at.
ELSEWHERE = {
    "flags of a loop": f"A=()\nfor f in moe-extended-tp seed=5; do\n    A+=(--$f)\ndone\n"
    f'{RUN} {SMALL} "${{A[@]}}" --train-iters 3\n',
    "braces": f"{RUN} {SMALL} --{{moe-extended-tp,bf16}} --train-iters 3\n",
    "a replaced text": f"A='--moe_extended_tp'\n{RUN} {SMALL} ${{A//_/-}} --train-iters 3\n",
    "a word over two lines": f"{RUN} {SMALL} --moe-ext\\\nended-tp --train-iters 3\n",
}


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
def test_a_text_split_at_commas_loses_one_comma(tmp_path: Path) -> None:
    text = f"IFS=,\nA='--moe-extended-tp,--seed,5'\n{RUN} {SMALL} --train-iters 3 $A\n"
    (tmp_path / "here").mkdir()
    found = moved(tmp_path / "here", text, {}, False)
    assert found.is_same_run and "A='--seed,5'\n" in found.files[0].after
    judge = by_bash.Judge(tmp_path)
    ((*before,),), ((*after,),) = judge.passed(text), judge.passed(found.files[0].after)
    assert [word for word in after if word != "--enable-msc"] == [w for w in before if w != "--moe-extended-tp"]


@pytest.mark.skipif(not by_bash.available, reason="bash is not installed")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_made_of_parts_is_named_and_left(name: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    found = moved(tmp_path / "here", ELSEWHERE[name], {}, False)
    assert [one.item.was for one in found.not_done] == [("--moe-extended-tp",)] and not found.is_same_run
    assert all(one.place is not None for one in found.not_done)
    judge = by_bash.Judge(tmp_path)
    ((*before,),), ((*after,),) = judge.passed(ELSEWHERE[name]), judge.passed(found.files[0].after)
    assert [word for word in after if word != "--enable-msc"] == before
