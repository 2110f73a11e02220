"""``train_state.pt`` of Bridge's, written without torch.

The format is an archive of one pickle and a member for the bytes of each tensor, nothing compressed.
Verify: torch/serialization.py, _save; megatron/bridge/training/state.py, TrainState.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Final

from bridge_args.records import Record

_WHEN: Final = (1980, 1, 1, 0, 0, 0)  # the same content is the same bytes


class TrainState(Record):
    """What Bridge goes on counting from; the names are those of its own ``TrainState``."""

    step: int
    consumed_train_samples: int = 0
    skipped_train_samples: int = 0
    consumed_valid_samples: int = 0
    floating_point_operations_so_far: float = 0.0
    do_train: bool = False
    do_valid: bool = False
    do_test: bool = False


def written(state: TrainState) -> bytes:
    """The file. Whole numbers have 64 bits, which every Bridge reads, and those since 0.4 write themselves."""
    pickled, tensors = io.BytesIO(), {}
    pickled.write(pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK)
    for number, (name, value) in enumerate(state._asdict().items()):
        storage, tensors[str(number)] = _stored(value)
        pickled.write(_text(name) + _tensor(storage, str(number)))
    pickled.write(pickle.SETITEMS + pickle.STOP)
    return _archive({"data.pkl": pickled.getvalue(), "byteorder": b"little", "version": b"3\n"}, tensors)


def _stored(value: float) -> tuple[str, bytes]:
    """The class of a storage with one number, and its bytes."""
    if isinstance(value, bool):
        return "BoolStorage", struct.pack("<?", value)
    if isinstance(value, int):
        return "LongStorage", struct.pack("<q", value)
    return "DoubleStorage", struct.pack("<d", value)


def _tensor(storage: str, key: str) -> bytes:
    """A tensor without dimensions: ``_rebuild_tensor_v2(storage, 0, (), (), False, OrderedDict())``."""
    place = pickle.MARK + _text("storage") + _named("torch", storage) + _text(key) + _text("cpu") + b"K\x01"
    place += pickle.TUPLE + pickle.BINPERSID
    rest = b"K\x00" + pickle.EMPTY_TUPLE * 2 + pickle.NEWFALSE
    rest += _named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    return _named("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + place + rest + pickle.TUPLE + pickle.REDUCE


def _named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _archive(members: Mapping[str, bytes], tensors: Mapping[str, bytes], name: str = "archive") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for member, content in {**members, **{f"data/{key}": data for key, data in tensors.items()}}.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{member}", _WHEN), content)
    return made.getvalue()
