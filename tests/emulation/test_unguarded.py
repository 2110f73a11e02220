"""A package for GPUs that is not there: who imports it without a guard sees a placeholder, who has one does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Modules of a package called megatron -> what they hold. triton is missing.
MODULES = {
    "__init__": "",
    "core/__init__": "",
    "core/bare": "import triton\nimport triton.language as tl\n\n@triton.jit\ndef kernel(): ...\n",
    "core/from_within": "from triton.language.extra import libdevice\n",
    "core/guarded": "try:\n    import triton\n    HAVE = True\nexcept ImportError:\n    HAVE = False\n",
    "core/any_error": "try:\n    import triton\n    HAVE = True\nexcept:\n    HAVE = False\n",
    "core/one_of_many": (
        "try:\n    import triton\n    HAVE = True\nexcept (KeyError, ModuleNotFoundError):\n    HAVE = False\n"
    ),
    "core/waits_for_another": "try:\n    import triton\nexcept KeyError:\n    pass\nHAVE = True\n",
    "core/around": "try:\n    from megatron.core import bare\n    HAVE = True\nexcept ImportError:\n    HAVE = False\n",
    "core/behind": "from megatron.core import bare\nHAVE = True\n",
    "core/in_the_handler": "try:\n    raise ImportError\nexcept ImportError:\n    import triton\nHAVE = True\n",
    "core/in_a_function": "def load():\n    import triton\n    return True\n\nHAVE = load()\n",
    "core/guarded_call": (
        "def load():\n    import triton\n    return True\n\n"
        "try:\n    HAVE = load()\nexcept ImportError:\n    HAVE = False\n"
    ),
}
SEEN = {  # a guard -> False: the import fails, as on the machine itself
    "guarded": False,
    "any_error": False,
    "one_of_many": False,
    "waits_for_another": True,
    "around": False,
    "behind": True,
    "in_the_handler": True,
    "in_a_function": True,
    "guarded_call": False,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        file = tmp_path / "megatron" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "other.py").write_text("import triton\n")
    (tmp_path / "around_all.py").write_text(
        "try:\n    from megatron.core import bare\n    HAVE = True\nexcept ImportError:\n    HAVE = False\n"
    )
    return tmp_path


def imported(folder: Path, statement: str) -> str:
    """What the statement prints, with triton missing and placeholders for it."""
    root = Path(__file__).parents[2]
    program = f"""
import sys
sys.path[:0] = [{str(root)!r}, {str(folder)!r}]
from bridge_args.emulation import placeholders
placeholders.is_missing = lambda package: package == "triton"
sys.modules["triton"] = None
with placeholders.absent_packages():
    try:
        {statement}
    except ImportError as error:
        print("ImportError")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", SEEN)
def test_a_guard_is_asked(folder: Path, module: str) -> None:
    assert imported(folder, f"from megatron.core.{module} import HAVE; print(HAVE)") == str(SEEN[module])


def test_without_a_guard_there_is_a_placeholder(folder: Path) -> None:
    assert imported(folder, "from megatron.core import bare; print(bare.kernel.__name__)") == "kernel"
    assert imported(folder, "from megatron.core.from_within import libdevice; print(libdevice.__name__)") != ""


def test_other_packages_see_no_placeholder(folder: Path) -> None:
    assert imported(folder, "import other") == "ImportError"


def test_a_guard_of_another_package_counts_not(folder: Path) -> None:
    """It is not about triton: Megatron Core's module is imported for the first time by chance there."""
    assert imported(folder, "from around_all import HAVE; print(HAVE)") == "True"
