"""What each series of Bridge needs, as far as it differs between them; the Makefile and messages read it here.

The extras of pyproject.toml and requirements/ say the same (tests/bridge/test_series.py). Where a fact is from: the
metadata of the wheels of megatron-bridge and megatron-core on the package index, extras ``dev`` and ``mlm`` included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bridge_args.errors import WrongValue
from bridge_args.records import Record
from bridge_args.versions import PAIRS, Versions, holds, number


class Series(Record):
    """The published Bridge that stands for its series, and what it needs.

    Attributes:
        bridge: version of megatron-bridge.
        core: version of megatron-core that it is installed with.
        pythons: oldest and newest Python on which the two can be imported.
        published_for: the Python that their metadata asks for; another one of ``pythons`` installs them with
            ``--ignore-requires-python``.
        needs: name of a package to what pip may choose from.
        platform: a package to its version whose wheels are tagged for a newer glibc than they need; ``make`` installs
            them by that tag.
    """

    bridge: str
    core: str
    pythons: tuple[str, str]
    published_for: str
    needs: Mapping[str, str]
    platform: Mapping[str, str]

    @property
    def name(self) -> str:
        """``0.6``"""
        return ".".join(self.bridge.split(".")[:2])

    @property
    def extra(self) -> str:
        """The extra of this package with what the series needs."""
        return f"bridge-{self.name.replace('.', '-')}"

    def has_python(self, version: tuple[int, int]) -> bool:
        """Can this Python have it?"""
        oldest, newest = (tuple(map(int, text.split("."))) for text in self.pythons)
        return oldest <= version <= newest

    def is_published_for(self, version: tuple[int, int]) -> bool:
        """Does the metadata of its wheels admit this Python?"""
        return holds(f"megatron {self.published_for}", Versions(".".join(map(str, version)), "0"))


# nvidia-resiliency-ext: core >= 0.17 cannot be imported with 0.4. transformers, hydra-core: bounds of Bridge's own.
# megatron-energon: Bridge 0.6 imports it with its training loop, the others with data of that kind only.
SERIES: Final = (
    Series(
        "0.3.1",
        "0.16.1",
        ("3.10", "3.12"),
        ">=3.10",
        {
            "megatron-core": ">=0.16.0,<0.17.0",
            "omegaconf": ">=2.3.0",
            "hydra-core": ">1.3,<=1.3.2",
            "transformers": ">=4.57,<5",
            "nvidia-modelopt": ">=0.42",
            "nvidia-resiliency-ext": "~=0.4.1",
        },
        {},
    ),
    Series(
        "0.4.2",
        "0.17.1",
        ("3.11", "3.12"),
        ">=3.12, <3.13",
        {
            "megatron-core": ">=0.17.1,<0.18",
            "omegaconf": ">=2.3.0",
            "hydra-core": ">1.3,<=1.3.2",
            "transformers": ">=5.0.0,<=5.3.0",
            "nvidia-modelopt": ">=0.42",
            "nvidia-resiliency-ext": ">=0.6.0",
        },
        {"nvidia-resiliency-ext": "0.6.0"},
    ),
    Series(
        "0.5.1",
        "0.18.2",
        ("3.11", "3.12"),
        ">=3.12, <3.13",
        {
            "megatron-core": ">=0.18.2,<0.19",
            "omegaconf": ">=2.3.0",
            "hydra-core": ">1.3,<=1.3.2",
            "transformers": ">=5.8.1,<5.9.0",
            "nvidia-modelopt": ">=0.44",
            "nvidia-resiliency-ext": ">=0.6.0",
        },
        {"nvidia-resiliency-ext": "0.6.0"},
    ),
    Series(
        "0.6.2",
        "0.19.2",
        ("3.11", "3.12"),
        ">=3.12, <3.13",
        {
            "megatron-core": ">=0.19.2,<0.20",
            "omegaconf": ">=2.3.0",
            "hydra-core": ">=1.3.4,<1.4",
            "transformers": ">=5.8,<=5.12.1",
            "nvidia-modelopt": ">=0.44",
            "nvidia-resiliency-ext": ">=0.6.0",
            "megatron-energon": "~=7.0",
        },
        {"nvidia-resiliency-ext": "0.6.0"},
    ),
)


def usual(python: tuple[int, int]) -> Series:
    """The newest Bridge of a proven pair that a Python can have; the newest of all for one that can have none."""
    proven = [
        one for one in SERIES if any(pair.status == "proven" and pair.versions.bridge == one.bridge for pair in PAIRS)
    ]
    return next((one for one in reversed(proven) if one.has_python(python)), proven[-1])


def find(bridge: str) -> Series | None:
    """The series that a version of Bridge belongs to; None for one that we do not know."""
    return next((series for series in SERIES if number(bridge)[:2] == number(series.bridge)[:2]), None)


def of(bridge: str) -> Series:
    """The series that a version of Bridge belongs to.

    Raises:
        ValueError: there is none that we know; those there are, are named.
    """
    if (found := find(bridge)) is not None:
        return found
    known = ", ".join(series.bridge for series in SERIES)
    raise WrongValue(f"no environment is known for Megatron Bridge {bridge}; there are {known}")
