"""Every name of somebody else's that we use is in what is installed, and takes what it is given."""

from __future__ import annotations

import importlib
import inspect
import warnings

import pytest

from bridge_args import foreign
from bridge_args.bridge import installed
from bridge_args.emulation import placeholders
from bridge_args.foreign import Foreign, NotThere
from bridge_args.versions import PROVEN

pytest.importorskip("torch")
if missing := installed.missing(PROVEN.bridge):
    pytest.skip(str(missing), allow_module_level=True)

# Of a checkout, which is no package here.
OF_THE_PROGRAM = {name for name, _ in foreign.names() if name.startswith("LM_")}
INSTALLED = {name: one for name, one in foreign.names() if name not in OF_THE_PROGRAM}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    with placeholders.absent_packages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foreign.PRETRAIN.get()


@pytest.mark.parametrize("name", INSTALLED)
def test_it_is_there(name: str) -> None:
    one = INSTALLED[name]
    places = one.places()
    if one.optional and not places:
        return
    assert places, f"no {one.alternatives}"
    for holder, leaf in places if one.takes else ():
        assert set(one.takes) <= set(inspect.signature(getattr(holder, leaf)).parameters)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(NotThere, match="installed version: it has no json.nowhere$"):
        Foreign("json:nowhere").get()
    with pytest.raises(NotThere, match="it has no nowhere_at_all.x$"):
        Foreign("nowhere_at_all:x", "json.nowhere:x").hook(lambda before: before)
    Foreign("json:nowhere", optional=True).hook(lambda before: before)


def test_the_first_alternative_counts_with_all_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    import json
    import json.decoder

    one = Foreign("json:nowhere", "json:loads json:nowhere json.decoder:JSONDecoder.decode", "json:dumps")
    monkeypatch.setattr(json, "loads", json.loads)
    monkeypatch.setattr(json.decoder.JSONDecoder, "decode", json.decoder.JSONDecoder.decode)
    dumps = json.dumps
    one.put(len)
    assert json.loads is json.decoder.JSONDecoder.decode is len and json.dumps is dumps  # type: ignore[comparison-overlap]


def test_a_static_method_stays_one() -> None:
    class Holder:
        @staticmethod
        def twice(value: int) -> int:
            return 2 * value

    foreign_module = type(inspect)("foreign_module")
    setattr(foreign_module, "Holder", Holder)
    import sys

    sys.modules["foreign_module"] = foreign_module
    try:
        Foreign("foreign_module:Holder.twice").hook(lambda before: lambda value: before(value) + 1)
    finally:
        del sys.modules["foreign_module"]
    assert Holder().twice(2) == Holder.twice(2) == 5


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("DistributedDataParallelConfig", "megatron.core.distributed.distributed_data_parallel_config"),
        ("OptimizerConfig", "megatron.core.optimizer.optimizer_config"),
    ],
)
def test_bridges_class_is_made_of_cores_of_the_same_name(name: str, module: str) -> None:
    """See ``source/bridge_config.py``: a configuration that names Core's loses nothing."""
    config = importlib.import_module("megatron.bridge.training.config")
    cores, bridges = getattr(importlib.import_module(module), name), getattr(config, name)
    assert issubclass(bridges, cores)
    assert {one for one in vars(bridges) if not one.startswith("_")} - {"finalize"} <= set(bridges.__dataclass_fields__)
