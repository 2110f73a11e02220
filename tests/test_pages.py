"""What the pages for people say is true: CONTRIBUTING.md runs, README.md shows what really comes out."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import bridge_args

ROOT = Path(__file__).resolve().parents[1]


def test_the_five_steps_run() -> None:
    failed, tried = doctest.testfile(str(ROOT / "CONTRIBUTING.md"), module_relative=False, encoding="utf-8")
    assert tried >= 10
    assert failed == 0


def test_readme_shows_the_real_translation() -> None:
    """README.md's first block of shell, translated, has every line of its first block of YAML, in that order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(bash|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    command = next(body for language, body in blocks if language == "bash")
    shown = next(body for language, body in blocks if language == "yaml").splitlines()
    translation = bridge_args.translate(shlex.split(command.replace("\\\n", " ")), bridge="0.3.1")
    assert [str(finding) for finding in translation.errors] == []
    real = iter(bridge_args.to_yaml(translation).splitlines())
    wanted = [line for line in shown if line.strip() != "# ..."]
    assert len(wanted) >= 12
    assert [
        line for line in wanted if line not in real
    ] == []  # `in` an iterator: each search starts after the last hit


def test_readme_python_runs() -> None:
    """The block of Python, with the first command in place of the dots; what imports Bridge is for tests/against."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    command = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[0]
    words = shlex.split(command.replace("\\\n", " "))
    code, dots = re.subn(r"\[\"--num-layers\".*?\]", repr(words), code)
    assert dots == 1
    code, bridge = re.subn(r"^bridge_args\.to_container\(t\).*\n", "", code, flags=re.MULTILINE)
    assert bridge == 1
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["t"], bridge_args.Translation) and not names["t"].errors
