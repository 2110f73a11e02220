"""``python -m bridge_args.dev``: the maintainers' commands. Each says what it wrote; ``--check`` writes nothing."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge_args.dev.layout import as_text

# Facts that a checkout without its history cannot tell; then they stay as they are on file.
_ORIGIN = ("ref", "commit")


def main(argv: list[str] | None = None) -> int:
    """Runs one command and gives the exit status: 0 done, 1 differences or problems found, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m bridge_args.dev", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    catalog = commands.add_parser("catalog", help="which arguments a Megatron-LM version has")
    catalog.add_argument("--megatron-lm", type=Path, required=True, metavar="CHECKOUT", help="a source tree")
    catalog.add_argument("--name", metavar="VERSION", help="what to call the version (default: its tag or package)")
    catalog.set_defaults(run=_catalog)
    schema = commands.add_parser("schema", help="which settings the installed Megatron Bridge has")
    schema.set_defaults(run=_schema)
    unread = commands.add_parser("unread", help="which settings of the installed Megatron Bridge no code of it reads")
    unread.add_argument("--trace", metavar="SOURCE", help="rehearse it, shrunk, and leave out what was read")
    unread.set_defaults(run=_unread)
    providers = commands.add_parser("providers", help="which classes of models by name a wheel of Bridge has")
    providers.add_argument("wheel", type=Path, metavar="WHEEL")
    providers.set_defaults(run=_providers)
    recipes = commands.add_parser("recipes", help="what the pretraining recipes of the installed Megatron Bridge hold")
    recipes.set_defaults(run=_recipes)
    for command in (catalog, schema, unread, providers, recipes):
        command.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
        command.add_argument("-o", dest="file", type=Path, metavar="FILE", help="another file than the package's own")
    nemo2 = commands.add_parser("nemo2", help="what the configuration classes of the installed NeMo 2.0 have")
    nemo2.set_defaults(run=_nemo2)
    families = commands.add_parser("families", help="model families of the installed Megatron Bridge with own code")
    families.set_defaults(run=_families)
    for command in (nemo2, families):
        command.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    authority = commands.add_parser(
        "authority", help="what the functions that ours rest on are in a version that was read"
    )
    work = commands.add_parser("new-version", help="what there is to do for a version of Megatron-LM")
    work.add_argument("--format", choices=("text", "json"), default="text")
    for command in (authority, work):
        command.add_argument("checkout", type=Path, metavar="CHECKOUT", help="a source tree of Megatron-LM")
        command.add_argument("--name", metavar="VERSION", help="what to call the version (default: its tag or package)")
    authority.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    authority.set_defaults(run=_authority)
    work.set_defaults(run=_new_version)
    environment = commands.add_parser("environment", help="what make has to know of the environment for a Bridge")
    environment.add_argument("bridge", nargs="?", metavar="BRIDGE", help="default: that of the proven pair")
    environment.add_argument("--check", action="store_true", help="can this Python have it?")
    environment.set_defaults(run=_environment)
    docs = commands.add_parser("docs", help="the reference made from the mapping tables")
    docs.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    docs.set_defaults(run=_docs)

    options = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1


def _catalog(options: argparse.Namespace) -> int:
    from bridge_args.dev.catalog import from_checkout
    from bridge_args.megatron_lm.catalog import FOLDER

    data = from_checkout(options.megatron_lm, options.name)
    return _settle(data, options.file or FOLDER / f"{data['version']}.json", options.check)


def _schema(options: argparse.Namespace) -> int:
    from bridge_args.bridge.schema import FOLDER
    from bridge_args.dev.schema import from_installed

    data = from_installed()
    return _settle(data, options.file or FOLDER / f"{data['version']}.json", options.check)


def _recipes(options: argparse.Namespace) -> int:
    from bridge_args.bridge import installed
    from bridge_args.dev import recipes
    from bridge_args.diff.nearest import FOLDER

    found = recipes.from_installed()
    for name, why in found["left_out"].items():
        print(f"{name}: {why}", file=sys.stderr)
    file = options.file or FOLDER / f"{installed.version()}.json.gz"
    new = recipes.content(found)
    if options.check:
        return 0 if file.is_file() and file.read_bytes() == new else 1
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(new)
    return 0


def _providers(options: argparse.Namespace) -> int:
    from bridge_args.bridge.providers import FOLDER
    from bridge_args.dev.providers import from_wheel

    version = options.wheel.name.split("-")[1]
    data = {"version": version, "providers": from_wheel(options.wheel)}
    return _settle(data, options.file or FOLDER / f"{version}.json", options.check)


def _unread(options: argparse.Namespace) -> int:
    from bridge_args.bridge import schema as schemas
    from bridge_args.bridge import unread as on_file
    from bridge_args.dev import unread

    found = unread.from_installed(options.trace)
    for line in unread.told(found):
        print(line, file=sys.stderr)
    schema = schemas.load(found.version)
    file = options.file or on_file.file_of(found.version)
    return _write(unread.as_text(unread.content(found, schema, options.trace)), file, options.check)


def _nemo2(options: argparse.Namespace) -> int:
    from bridge_args.dev.nemo2 import as_text, from_nemo
    from bridge_args.source.nemo2.defaults import FILE

    return _write(as_text(from_nemo()), FILE, options.check)


def _families(options: argparse.Namespace) -> int:
    from bridge_args.bridge.families import FOLDER
    from bridge_args.dev.nemo2 import as_text, families

    data = families()
    return _write(as_text(data), FOLDER / f"{data['version']}.json", options.check)


def _authority(options: argparse.Namespace) -> int:
    from bridge_args.dev import authority
    from bridge_args.dev.catalog import version_of
    from bridge_args.megatron_lm.derive.registry import REGISTERED

    version = options.name or version_of(options.checkout)
    read = [step for step in REGISTERED if step.authority.was_read(version)]
    if not read:
        raise ValueError(f"no function of ours says that {version} was read; write it into its read=")
    now = authority.digests(options.checkout, authority.seen(read))
    return _write(as_text(authority.content(version, now, authority.read_file())), authority.FILE, options.check)


def _new_version(options: argparse.Namespace) -> int:
    from bridge_args.dev.catalog import from_checkout
    from bridge_args.dev.new_version import text, work_list
    from bridge_args.megatron_lm.catalog import from_data

    work = work_list(from_data(from_checkout(options.checkout, options.name)), options.checkout)
    print(json.dumps(work.data(), indent=2) if options.format == "json" else "\n".join(text(work)))
    return 0


def _environment(options: argparse.Namespace) -> int:
    from bridge_args.dev import environment

    if not options.check:
        print(
            " ".join(f"{name}={value}" for name, value in environment.facts(options.bridge, environment.here()).items())
        )
        return 0
    refusal = environment.refusal(options.bridge, environment.here())
    print(refusal or "", end="\n" if refusal else "", file=sys.stderr)
    return 1 if refusal else 0


def _docs(options: argparse.Namespace) -> int:
    from bridge_args.dev.docs import pages

    return max(_write(text, file, options.check) for file, text in pages().items())


def _settle(data: dict[str, Any], file: Path, check: bool) -> int:
    on_file = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for key in _ORIGIN:
        if data.get(key) == "" and on_file.get("version") == data["version"]:
            data[key] = on_file[key]
    return _write(as_text(data), file, check)


def _write(new: str, file: Path, check: bool) -> int:
    """Writes the file, or says line by line where it differs."""
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not check:
        file.write_text(new, encoding="utf-8")
        print(f"{file}: {'unchanged' if new == old else 'written'}", file=sys.stderr)
        return 0
    if new == old:
        print(f"{file}: up to date", file=sys.stderr)
        return 0
    print("\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(file), "now", n=0, lineterm="")))
    return 1


if __name__ == "__main__":
    sys.exit(main())
