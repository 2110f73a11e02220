"""Completion: what each shell offers with our script, asked of the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bridge_args.cli.commands.translate import FORMATS
from bridge_args.cli.main import main
from bridge_args.emit.completion import SHELLS

ASK = {
    # The last word is the one being typed.
    "bash": """
        source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _bridge_args
        printf "%s\\n" "${COMPREPLY[@]}"
    """,
    "zsh": """
        compadd() { local -a all; all=("${@[2,-1]}"); print -l -- ${(M)all:#${words[CURRENT]}*} }
        _files() { print -l -- ${words[CURRENT]}*(N) }
        source "$1"; shift; words=("$@"); CURRENT=$#; _bridge_args
    """,
    "fish": 'source $argv[1]; complete -C (string join " " -- $argv[2..]) | string split -f 1 \\t',
}


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    script = tmp_path_factory.mktemp("completion") / f"script.{request.param}"
    with pytest.MonkeyPatch.context() as patch, script.open("w") as stream:
        patch.setattr("sys.stdout", stream)
        assert main(["completion", request.param]) == 0
    return request.param, script


def offered(shell: tuple[str, Path], words: list[str], folder: Path) -> set[str]:
    name, script = shell
    (folder / "train.sh").write_text("")
    plain = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    first = [] if name == "fish" else [name]
    done = subprocess.run(
        [name, *plain, "-c", ASK[name], *first, str(script), "bridge-args", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), "TERM": "dumb"},
    )
    assert done.stderr == ""
    return {line for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        pytest.param([""], {"translate", "report", "explain", "completion"}, {"--num-layers"}, id="commands"),
        pytest.param(["tr"], {"translate"}, {"report"}, id="the beginning of a command"),
        pytest.param(["translate", "--f"], {"--format", "--full"}, {"--steps"}, id="options"),
        pytest.param(["translate", "--format", ""], set(FORMATS), {"html", "train.sh"}, id="formats"),
        pytest.param(["report", "--format", "h"], {"html"}, {"json"}, id="formats of a report"),
        pytest.param(["translate", "t"], {"train.sh"}, {"translate"}, id="a script"),
        pytest.param(["translate", "-o", "t"], {"train.sh"}, {"--format"}, id="a file"),
        pytest.param(["translate", "--", "--moe-router-t"], {"--moe-router-topk"}, {"--format"}, id="flags"),
        pytest.param(["translate", "--", "--lr", "1", "--num-lay"], {"--num-layers"}, {"--lr"}, id="further flags"),
        pytest.param(["translate", "--", "--normalization", ""], {"LayerNorm", "RMSNorm"}, {"--lr"}, id="choices"),
        pytest.param(["explain", "--moe-router-t"], {"--moe-router-topk"}, {"--lr"}, id="what can be explained"),
        pytest.param(["completion", ""], set(SHELLS), {"train.sh"}, id="shells"),
        pytest.param(["report", "--bridge", "0.3"], {"0.3.1"}, {"0.6.2"}, id="versions"),
    ],
)  # fmt: skip
def test_offers(shell: tuple[str, Path], words: list[str], there: set[str], absent: set[str], tmp_path: Path) -> None:
    found = offered(shell, words, tmp_path)
    assert there <= found
    assert not absent & found


def test_bash_takes_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    """As a user does it: then bash names our function for the program."""
    assert main(["completion", "bash"]) == 0
    words = ["bash", "-c", "source /dev/stdin; complete -p bridge-args"]
    done = subprocess.run(words, input=capsys.readouterr().out, capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _bridge_args bridge-args\n"


def test_bash_completes_after_an_equals_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert offered(("bash", script), ["translate", "--format", "=", "re"], tmp_path) == {"recipe"}
    assert "yaml" in offered(("bash", script), ["translate", "--format", "="], tmp_path)


def test_another_shell_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
