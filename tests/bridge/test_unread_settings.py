"""Which settings nothing reads: how reading code tells whose an attribute is, and what is on file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge_args.bridge import schema as schemas
from bridge_args.bridge import unread
from bridge_args.dev import source_index
from bridge_args.dev.reads import Reader
from bridge_args.dev.source_index import Index
from bridge_args.dev.unread import settled
from bridge_args.versions import PAIRS

CONFIG = """
from dataclasses import dataclass, fields, asdict

@dataclass
class Train:
    steps: int = 1
    interval: int | None = None
    other: int = 0

@dataclass
class Save:
    interval: int | None = None
    folder: str = ""
    kind: str = ""
{own}

@dataclass
class Container:
    train: Train
    save: Save
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
"""
SECTIONS = {"train": ("pkg.config.Train",), "save": ("pkg.config.Save",), "a": ("",), "b": ("",), "c": ("",)}
SETTINGS = {"pkg.config.Train": ("steps", "interval", "other"), "pkg.config.Save": ("interval", "folder", "kind")}


def read(folder: Path, code: str, own: str = "") -> set[str]:
    """The settings that are read by a module beside the configuration, ``Class.setting``."""
    package = folder / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(CONFIG.replace("{own}", own))
    (package / "use.py").write_text("from pkg.config import *\nfrom pkg.config import Container, Save, Train\n" + code)
    modules = list(source_index.read(package, "pkg"))
    reader = Reader(Index(modules), SECTIONS, SETTINGS)
    for module in modules:
        reader.module(module)
    reader.finish()
    return {f"{cls.rpartition('.')[2]}.{name}" for cls, names in settled(reader).items() for name in names}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(cfg):\n    return cfg.save.interval", {"Save.interval"}),
        ("def f(save: Save):\n    return save.interval", {"Save.interval"}),
        ("def f(save: 'Save | None'):\n    return save.interval", {"Save.interval"}),
        ("def f(what):\n    return what.interval", {"Save.interval", "Train.interval"}),
        ("def f(cfg: Container):\n    mine = cfg.train\n    return mine.interval", {"Train.interval"}),
        ("def f(cfg):\n    return getattr(cfg.save, 'interval', 3)", {"Save.interval"}),
        ("def f(cfg):\n    cfg.save.interval = 3", set()),
        ("def f(path: str):\n    return path.folder", set()),
        ("class A:\n    def __init__(self, it: Save):\n        self.it = it\n"
         "    def f(self):\n        return self.it.interval", {"Save.interval"}),
        ("class A:\n    def __init__(self):\n        self.interval = 1\n    def f(self):\n        return self.interval",
         set()),
        ("class A:\n    @property\n    def cfg(self) -> Container: ...\n"
         "    def f(self):\n        return self.cfg.train.interval", {"Train.interval"}),
        ("def get() -> Save: ...\ndef f():\n    return get().interval", {"Save.interval"}),
        ("def f(run_config):\n    return run_config['save']['interval']", {"Save.interval"}),
        ("def f(save: Save):\n    return asdict(save)", {"Save.interval", "Save.folder", "Save.kind"}),
        ("def f(save: Save):\n    for name in ('folder', 'kind'):\n        print(getattr(save, name))",
         {"Save.folder", "Save.kind"}),
        ("def g(it, name):\n    return getattr(it, name)\ndef f(save: Save):\n    return g(save, 'x')",
         {"Save.interval", "Save.folder", "Save.kind"}),
        ("def g(it, name):\n    return getattr(it, name)\ndef f(what: str):\n    return g(what, 'kind')",
         {"Save.kind"}),
        ("def f(save: Save):\n    def inner():\n        return save.interval\n    return inner", {"Save.interval"}),
    ],
)  # fmt: skip
def test_whose_an_attribute_is(tmp_path: Path, code: str, found: set[str]) -> None:
    assert read(tmp_path, code) == found


@pytest.mark.parametrize(
    ("own", "code", "found"),
    [
        ("assert self.kind in 'ab'", "", set()),
        ("if self.kind == 'x':\n            raise ValueError(self.folder)", "", set()),
        ("if self.kind:\n            print(f'{self.folder} is old')", "", set()),
        ("self.kind = self.kind or 'a'", "", set()),
        ("if self.kind:\n            self.folder = 'x'", "", set()),
        ("if self.kind:\n            self.folder = 'x'", "def f(s: Save):\n    return s.folder",
         {"Save.kind", "Save.folder"}),
        ("it = self.kind\n        self.folder = it", "def f(s: Save):\n    return s.folder",
         {"Save.kind", "Save.folder"}),
        ("if not self.kind:\n            return\n        self.folder = 'x'", "def f(s: Save):\n    return s.folder",
         {"Save.kind", "Save.folder"}),
        ("start(self.kind)", "", {"Save.kind"}),
    ],
)  # fmt: skip
def test_what_a_configuration_does_with_itself(tmp_path: Path, own: str, code: str, found: set[str]) -> None:
    """A check reads nothing; what sets another setting is read if that one is."""
    assert read(tmp_path, code, f"    def __post_init__(self):\n        {own}\n") == found


KNOWN = sorted({pair.versions.bridge for pair in PAIRS})


@pytest.mark.parametrize("bridge", KNOWN)
def test_what_is_on_file(bridge: str) -> None:
    """Each class and setting is one of the schema's, and no setting that every run reads is among them."""
    schema = schemas.load(bridge)
    found = unread.classes(bridge)
    assert found and unread.file_of(bridge).stat().st_size < 10_000
    for cls, names in found.items():
        assert names <= schema.classes[cls].keys(), cls
        assert all(schema.classes[cls][name].init for name in names), cls
    for path in (
        "train.micro_batch_size",
        "checkpoint.save",
        "optimizer.lr",
        "model.num_layers",
        "logger.log_interval",
    ):
        assert not unread.is_unread(bridge, schema.class_with(path) or "", path.partition(".")[2]), path


def test_a_namesake_hides_nothing() -> None:
    """The optimizer's ``log_num_zeros_in_grad`` is read, and that of the logger, which 0.6 has too, is not."""
    schema = schemas.load("0.6.2")
    logger, optimizer = schema.class_with("logger.log_num_zeros_in_grad"), schema.class_with("optimizer.lr")
    assert unread.is_unread("0.6.2", logger or "", "log_num_zeros_in_grad")
    assert not unread.is_unread("0.6.2", optimizer or "", "log_num_zeros_in_grad")


def test_an_unknown_version_has_none() -> None:
    assert unread.classes("9.9.9") == {}
