"""The answer of ``validate --format json``: one document whatever it is, as its schema says; errors are told first."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small import SMALL

import bridge_args
from bridge_args import emit
from bridge_args.cli.main import main
from bridge_args.emit.validation import text_of, validation
from bridge_args.findings import Finding
from bridge_args.training import container

BRIDGE = pytest.mark.skipif(find_spec("megatron") is None, reason="Megatron Bridge is not installed")
FOLDER = Path(emit.__file__).parent


def strict(schema: Any) -> Any:
    """The schema with no room for keys that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
        return {**{key: strict(value) for key, value in schema.items()}, **more}
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def judge() -> Any:
    jsonschema, referencing = pytest.importorskip("jsonschema"), pytest.importorskip("referencing")
    own, of_reports = (
        strict(json.loads((FOLDER / name).read_text())) for name in ("validation_schema.json", "report_schema.json")
    )
    jsonschema.Draft202012Validator.check_schema(own)
    registry = referencing.Registry().with_resource(
        "report_schema.json", referencing.Resource.from_contents(of_reports)
    )
    return jsonschema.Draft202012Validator(own, registry=registry)


def test_every_status_is_as_the_schema_says() -> None:
    good = bridge_args.translate(SMALL, world_size=1)
    bad = bridge_args.translate([*SMALL, "--num-layerz", "3", "--rotary-base", "9", "--adlr-autoresume"])
    answers = [
        validation("ok", good),
        validation("errors", bad),
        validation("errors", good, [Finding("bridge-rejects", "No.")]),
        validation("errors", None, [Finding("unreadable-source", "No such file.")]),
        validation("losses", bridge_args.translate([*SMALL, "--adlr-autoresume"])),
        validation("not-validated", None, message="Bridge is not installed."),
    ]
    judged = judge()
    for answer in answers:
        judged.validate(json.loads(text_of(answer)))
    assert [len(answer["errors"]) for answer in answers] == [0, 1, 1, 1, 0, 0]
    assert {finding["kind"] for finding in answers[1]["findings"]} >= {"unknown-argument", "ignored-by-megatron"}
    assert not judged.is_valid({**answers[0], "status": "fine"})
    assert not judged.is_valid({**answers[1], "errors": [{"kind": "x"}]})


@pytest.mark.parametrize(
    ("words", "status", "errors"),
    [
        (["--world-size", "1", "--", *SMALL], "ok", []),
        (["--world-size", "1", "--", *SMALL, "--num-layerz", "3"], "errors", ["unknown-argument"]),
        (["--world-size", "1", "--strict", "--", *SMALL, "--adlr-autoresume"], "losses", []),
        (["--world-size", "1", "--", *SMALL, "--adlr-autoresume"], "ok", []),
        (["nowhere.sh"], "errors", ["unreadable-source"]),
        (["open.sh"], "not-validated", []),
    ],
    ids=["ok", "errors", "losses", "losses without --strict", "no source", "a variable"],
)
@BRIDGE
def test_the_answer(
    words: list[str],
    status: str,
    errors: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOBODY_SETS", raising=False)
    monkeypatch.setattr(container, "to_container", lambda t: None)  # Bridge itself is asked elsewhere
    Path("open.sh").write_text(f"python pretrain_gpt.py {' '.join(SMALL)} --save $NOBODY_SETS --save-interval 5\n")
    assert main(["validate", "--format", "json", *words]) == (status != "ok")
    answer = json.loads(capsys.readouterr().out)
    judge().validate(answer)
    assert answer["status"] == status and [finding["kind"] for finding in answer["errors"]] == errors
    assert bool(answer["message"]) == (status == "not-validated")


@BRIDGE
def test_what_bridge_says_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(t: object) -> None:
        raise container.BridgeRejects("no such thing")

    monkeypatch.setattr(container, "to_container", refuse)
    file = tmp_path / "answer.json"
    words = ["validate", "--world-size", "1", "--format", "json", "-o", str(file), "--", *SMALL]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == "" and "no such thing" in said.err
    (error,) = json.loads(file.read_text())["errors"]
    assert (error["kind"], error["message"]) == ("bridge-rejects", "no such thing")


def test_errors_stand_before_everything_else(capsys: pytest.CaptureFixture[str]) -> None:
    harmless = "--sgd-momentum 0.5 --rotary-base 9 --min-loss-scale 4 --num-query-groups 2 --max-tokens-to-oom 3"
    words = ["translate", "--", *SMALL, *harmless.split(), "--num-layerz", "3"]
    assert main(words) == 1
    levels = [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if line.split(":")[0] in LEVELS]
    assert levels == sorted(levels, key=LEVELS.index)
    assert levels[0] == "error" and levels.count("error") == 1 and levels.count("warning") >= 4


LEVELS = ["error", "warning", "note"]
