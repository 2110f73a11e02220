"""The catalogs hold what Megatron-LM's parsers hold, and nothing that a reader of them would trip over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from recorded import parsers

from bridge_args.dev.layout import as_text
from bridge_args.megatron_lm import catalog

FLAGS_WITHOUT_VALUE = ("store_true", "store_false")


def test_versions_are_in_order_and_load() -> None:
    versions = catalog.versions()
    assert versions[0] == "0.11.0" and versions[-1] == "main-2026-08-22" and "0.16.1" in versions
    assert [catalog.load(version).version for version in versions] == list(versions)


def test_unknown_version_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no catalog of Megatron-LM 0\.1\.2; there are 0\.11\.0, .*0\.16\.1"):
        catalog.load("0.1.2")


@pytest.mark.parametrize("version", catalog.versions())
def test_arguments_are_consistent(version: str) -> None:
    loaded = catalog.load(version)
    assert sum(len(argument.flags) for argument in loaded.arguments) == len(loaded.by_flag), "a flag twice"
    for argument in loaded.arguments:
        assert all(flag.startswith("--") for flag in argument.flags) and argument.dest.isidentifier()
        assert (argument.enum is None) or argument.choices or argument.members
        names = argument.choices or argument.members
        if names and argument.default not in (None, []) and argument.dest in loaded.defaults:
            given = argument.default if isinstance(argument.default, list) else [argument.default]
            assert all(value in names for value in given), argument.dest
        if argument.action in FLAGS_WITHOUT_VALUE:
            assert argument.nargs is None and argument.type is None
    assert set(loaded.program_defaults) <= set(loaded.defaults)


def test_flags_of() -> None:
    loaded = catalog.load("0.16.1")
    assert loaded.flags_of("save_interval") == ("--save-interval", "--persistent-save-interval")
    assert loaded.flags_of("disable_chunked_prefill") == ("--enable-chunked-prefill", "--disable-chunked-prefill")
    assert loaded.flags_of("no_such_argument") == ()


def test_two_flags_of_one_argument_share_the_first_one_s_default() -> None:
    loaded = catalog.load("0.16.1")
    assert loaded.by_flag["--inference-max-batch-size"].default == loaded.defaults["inference_max_batch_size"] == 8


def test_from_data_leaves_its_input_alone() -> None:
    data = json.loads((catalog.FOLDER / "0.16.1.json").read_bytes())
    before = json.dumps(data)
    catalog.from_data(data)
    assert json.dumps(data) == before


@pytest.mark.parametrize("version", catalog.versions())
def test_file_is_laid_out_as_the_generator_lays_it_out(version: str) -> None:
    text = (catalog.FOLDER / f"{version}.json").read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text


@pytest.mark.parametrize("version", catalog.versions())
def test_nothing_observed_is_lost(version: str) -> None:
    observed = parsers()[version]
    loaded = catalog.load(version)
    assert (loaded.ref, loaded.commit, loaded.program_defaults) == (
        observed["ref"],
        observed["commit"],
        observed["args_defaults"],
    )
    assert [_as_observed(argument) for argument in loaded.arguments] == [_facts(flag) for flag in observed["flags"]]


def _as_observed(argument: catalog.Argument) -> dict[str, Any]:
    implied = {"store_true": (0, True), "store_false": (0, False), "BooleanOptionalAction": (0, None)}
    nargs, const = implied.get(argument.action, (argument.nargs, argument.const))
    return {
        "options": list(argument.flags),
        "dest": argument.dest,
        "action": argument.action,
        "type": argument.type,
        "nargs": nargs,
        "const": const,
        "choices": None if argument.choices is None else list(argument.choices),
        "enum": argument.enum,
        "members": list(argument.choices or argument.members or ()) if argument.enum else None,
        "default": argument.default,
        "required": argument.required,
        "group": argument.group,
        "field": argument.field,
        "requires": argument.requires,
        "exclusive": argument.exclusive,
        "environment": argument.environment,
    }


def _facts(flag: dict[str, Any]) -> dict[str, Any]:
    enum, members = next(iter(flag.get("type_enums", {}).items()), (None, None))
    source = flag.get("generated_from")
    return {
        **{key: flag[key] for key in ("options", "dest", "action", "nargs", "const", "choices", "required", "group")},
        "type": "enum" if flag["type"] in ("<lambda>", "enum_type_handler") else flag["type"],
        "enum": enum,
        "members": members,
        "default": flag.get("parsed_default", flag["default"]),
        "field": source and f"{source['dataclass'].rpartition('.')[2]}.{source['field']}",
        "requires": flag.get("requires_package"),
        "exclusive": flag["mutually_exclusive"]["index"] if "mutually_exclusive" in flag else None,
        "environment": flag.get("default_depends_on_env"),
    }
