"""``python -m bridge_args.dev environment``: what the Makefile has to know of the environment for a Bridge.

It runs with whatever Python is there, before anything is installed.
"""

from __future__ import annotations

import sys

from bridge_args.bridge import series


def facts(bridge: str | None, python: tuple[int, int]) -> dict[str, str]:
    """Variables for make.

    Returns:
        ``SERIES``: the version of Bridge. ``FIRST``: the one whose lock the others follow. ``GROUP``: of its extra and
        its dependency groups in pyproject.toml. ``OLDEST`` and ``PUBLISHED``: the oldest Python of the environment, and
        of Bridge's own wheels. ``TAG``: its platform file, if it has one. ``IGNORE``: an option for pip, where Bridge's
        wheels ask for another Python.

    Raises:
        ValueError: no series is called like this.
    """
    one = series.of(bridge) if bridge else series.usual(python)
    admits = [f"3.{minor}" for minor in range(10, 20) if one.is_published_for((3, minor))]
    return {
        "SERIES": one.bridge,
        "FIRST": series.SERIES[0].bridge,
        "GROUP": one.extra.removeprefix("bridge"),
        "OLDEST": one.pythons[0],
        "PUBLISHED": admits[0],
        "TAG": f"requirements/platform-{one.bridge}.txt" if one.platform else "",
        "IGNORE": "" if one.is_published_for(python) else "--ignore-requires-python",
    }


def refusal(bridge: str | None, python: tuple[int, int]) -> str | None:
    """Why a Python cannot have a Bridge; None where it can.

    Raises:
        ValueError: no series is called like this.
    """
    one = series.of(bridge) if bridge else series.usual(python)
    if one.has_python(python):
        return None
    oldest, newest = one.pythons
    return (
        f"Python {python[0]}.{python[1]} cannot have Megatron Bridge {one.bridge}, which needs {oldest} to {newest}; "
        f"say another one: make PYTHON=python{newest} …"
    )


def here() -> tuple[int, int]:
    return sys.version_info[0], sys.version_info[1]
