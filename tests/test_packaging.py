"""The tables, catalogs and schemas are found in a wheel, an editable install and a bare checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from bridge_args import __version__
from bridge_args.bridge import schema
from bridge_args.mapping import table
from bridge_args.megatron_lm import catalog
from bridge_args.versions import Versions

ROOT = Path(__file__).resolve().parents[1]
SITE_PACKAGES = sysconfig.get_path("purelib")

# Run where the package was put; says from where everything was loaded, and how much of it. The pair of versions is one
# for which the tables themselves are read, not the index made from them.
PROBE = """
import json, sys
from pathlib import Path
import bridge_args
from bridge_args.bridge import schema
from bridge_args.mapping import folder, table
from bridge_args.megatron_lm import catalog
from bridge_args.versions import Versions
print(json.dumps({
    "package": str(Path(bridge_args.__file__).parent),
    "mappings": str(folder.mappings_folder()),
    "rows": len(table.load(Versions("0.16.1", "0.4.2")).rows),
    "catalogs": catalog.versions(),
    "schemas": schema.versions(),
    "version": bridge_args.__version__,
    "torch": "torch" in sys.modules,
}))
"""


def run(*words: str | Path, cwd: Path, path: str = "") -> str:
    """Runs a command with exactly this PYTHONPATH; its standard output."""
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_probe(output: str, package: Path, mappings: Path) -> None:
    """Everything came from the place it should come from, and all of it is there."""
    here = table.load(Versions("0.16.1", "0.4.2"))
    assert json.loads(output) == {
        "package": str(package),
        "mappings": str(mappings),
        "rows": len(here.rows),
        "catalogs": list(catalog.versions()),
        "schemas": list(schema.versions()),
        "version": __version__,
        "torch": False,
    }
    assert len(here.rows) > 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling (dependency group dev)")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_bare_checkout(tmp_path: Path) -> None:
    for name in ("bridge_args", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    output = run(sys.executable, "-c", PROBE, cwd=tmp_path, path=str(tmp_path))
    check_probe(output, tmp_path / "bridge_args", tmp_path / "mappings")


def test_wheel_runs_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    output = run(sys.executable, "-c", PROBE, cwd=elsewhere, path=str(site))
    check_probe(output, site / "bridge_args", site / "bridge_args" / "mappings")


def test_wheel_holds_the_data_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "bridge_args/py.typed" in names
    for name in ("bridge_args/**/*.json", "bridge_args/**/*.py"):
        assert {str(path.relative_to(ROOT)) for path in ROOT.glob(name)} <= names
    assert {f"bridge_args/{path.relative_to(ROOT)}" for path in ROOT.glob("mappings/**/*.yaml")} <= names
    assert {name.partition("/")[0] for name in names} == {"bridge_args"}


def test_editable_install(tmp_path: Path) -> None:
    """A real ``pip install --editable`` into a new environment; PyYAML and hatchling are lent to it by this one."""
    pytest.importorskip("hatchling", reason="an editable install needs hatchling (dependency group dev)")
    venv.create(tmp_path / "venv")
    folder = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", folder / "python", "install", "--quiet", "--no-deps"]
    run(*pip, "--no-index", "--no-build-isolation", "--editable", ROOT, cwd=tmp_path, path=SITE_PACKAGES)

    output = run(folder / "python", "-c", PROBE, cwd=tmp_path, path=SITE_PACKAGES)
    check_probe(output, ROOT / "bridge_args", ROOT / "mappings")
    assert __version__ in run(folder / "bridge-args", "--version", cwd=tmp_path, path=SITE_PACKAGES)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("BRIDGE=9.9", "no environment is known for Megatron Bridge 9.9; there are 0.3.1, "),
        ("PYTHON=/no/such/python", "/no/such/python"),
        (f"PYTHON={shutil.which('false')}", "python-can] Error 1"),
    ],
)
def test_make_says_why_there_is_no_environment(word: str, said: str) -> None:
    """And says it before anything is made."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "demo", word], cwd=ROOT, env=outside, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and said in done.stderr and "No rule to make target" not in done.stderr
    assert not (ROOT / ".venv-").exists()
