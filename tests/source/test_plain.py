"""A configuration as plain data is what PyYAML's safe loader makes of it; a hostile one is refused, fast."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.source.yaml.plain import mapping_in

WHOLE = """\
_target_: megatron.bridge.training.config.ConfigContainer
model: &model
  hidden_size: 64
  layernorm_epsilon: 1.0e-05
  odd: 1e-5
  octal: 0o17
  hex: 0x1F
  sexagesimal: 1:30
  yes: no
  null_one: ~
  text: "123"
  date: 2026-01-01
  list: [1, [2.5, null], {a: true}]
  infinity: .inf
again: *model
merged:
  <<: *model
  hidden_size: 128
7: seven
"""


def test_values_are_those_of_the_safe_loader(tmp_path: Path) -> None:
    file = tmp_path / "run_config.yaml"
    file.write_text(WHOLE)
    assert mapping_in(file) == yaml.safe_load(WHOLE)


def test_a_set_is_a_mapping_to_nothing(tmp_path: Path) -> None:
    """Bridge writes one beside an adapter: which parameters it has saved."""
    file = tmp_path / "run_config.yaml"
    file.write_text(yaml.safe_dump({"peft": {"params_to_save": {"one", "other"}}}))
    assert "!!set" in file.read_text()
    assert mapping_in(file) == {"peft": {"params_to_save": {"one": None, "other": None}}}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 200000 values"),
        ("a: " + "[" * 50_000, "run_config.yaml:1: "),
        ("a: " + "[" * 200 + "]" * 200, "more than 100 levels"),
        ("a: &a [*a]\n", "is not known here"),
        ("a: !!python/object/apply:os.system [touch /tmp/x]\n", "nothing here is executed"),
        ("a: !!int words\n", "is no int"),
        ("a: !!set words\n", "one value is no set"),
        ("a: " + "9" * 10_000 + "\n", "is no int"),
        ("- a\n", "holds no sections"),
        ("", "holds no sections"),
        ("a: b\n---\nc: d\n", "a second document"),
        ("a: [\n", "not readable as YAML"),
        ("#" * 1_000_001, "1000001 characters"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_configuration_is_told(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "run_config.yaml"
    file.write_text(text)
    begun = time.process_time()
    with pytest.raises(YamlProblem) as refused:
        mapping_in(file)
    assert said in str(refused.value)
    assert time.process_time() - begun < 20
    assert len(str(refused.value)) < 500


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(YamlProblem, match="cannot be read"):
        mapping_in(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(YamlProblem, match="cannot be read"):
        mapping_in(tmp_path / "binary")
