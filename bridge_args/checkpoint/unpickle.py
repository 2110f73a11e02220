"""Pickled data without running it: names become inert stand-ins, and a name that is not expected is refused.

A pickle is a program that may call anything it can name. Here it can name only what ``_ALLOWED`` and ``_KINDS`` say,
and nothing it names is ever imported or called: a class becomes a class of ours that keeps what it is given, a function
one that keeps its arguments. Only containers of the standard library are real. No torch is needed.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from bridge_args.files import open_regular, remember
from bridge_args.records import Record

# The structure of a checkpoint, without its tensors; of a model with a million shards some 10 MB.
LARGEST: Final = 32 << 20
_STEPS: Final = 2_000_000  # of one pickle; an entry of a tensor takes 25
_STEPS_OF_AN_INDEX: Final = 6_000_000  # an entry of an index takes 140: the plans of the save are in it too
_BYTES: Final = {"torch.IntStorage": 4, "torch.LongStorage": 8}  # of a whole number, by the class of its storage
_DEEPEST: Final = 64  # containers within one another
_MOST: Final = 200_000  # values in the arguments, those that are shared counted as often as they are met
_WIDEST: Final = 4096  # bits of a whole number

_CONTAINERS: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "tuple"): tuple,
    ("builtins", "complex"): complex,
}

# Whole names that checkpoints of Megatron-LM hold, by module.
_ALLOWED: Final = {
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "signal": "Signals",
    "builtins": "getattr bytearray slice range",
    "collections": "defaultdict deque",
    "pathlib": "PosixPath PurePosixPath Path",
    "datetime": "timedelta",
    "_codecs": "encode",
    "functools": "partial",
    "torch": "Size device Tensor",
    "torch._utils": "_rebuild_tensor_v2 _rebuild_tensor _rebuild_parameter _rebuild_device_tensor_from_numpy",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.nn.parameter": "Parameter",
    "torch.nn.functional": "silu gelu relu",
    "torch.storage": "UntypedStorage TypedStorage",
    "torch.serialization": "_get_layout",
    "numpy": "ndarray dtype",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    # The index of torch.distributed.checkpoint; before torch 2.3 the properties were in another module.
    "torch.distributed.checkpoint.metadata": (
        "Metadata MetadataIndex StorageMeta TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata "
        "TensorProperties _MEM_FORMAT_ENCODING"
    ),
    "torch.distributed.checkpoint.filesystem": "_StorageInfo",
    "torch.distributed.checkpoint.planner": "SavePlan WriteItem WriteItemType TensorWriteData",
    "torch.distributed._shard.sharded_tensor.metadata": "TensorProperties MEM_FORMAT_ENCODING",
}
_KINDS: Final = (
    (re.compile(r"^torch$"), re.compile(r"^(u?int\d+|b?float\d+\w*|bool|complex\d+|half|double|long|short|q\w+\d+)$")),
    (re.compile(r"^torch(\.cuda)?$"), re.compile(r"^\w+(Storage|Tensor)$")),
    (re.compile(r"^megatron\.(core|training|legacy|post_training|rl)(\.\w+)*$"), re.compile(r"^[A-Za-z_]\w*$")),
    (re.compile(r"^transformer_engine(\.\w+)*$"), re.compile(r"^[A-Z]\w*$")),
)


Kinds = tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]
"""Modules and names in them that a pickle may name."""


class Refused(Exception):
    """The file asks for something that no checkpoint of Megatron-LM needs, or is not what it should be."""


class TooLarge(Refused):
    """It may be what it should be, and is larger than is read here."""


class Named(Record):
    """A class or function by its qualified name."""

    path: str


class Thing:
    """What a name stands for: an instance of a class, or what a function was called with.

    Attributes:
        path: the qualified name.
        arguments: what it was made with.
        state: what it holds.
    """

    path = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments: tuple[Any, ...] = arguments
        self.state: Any = None

    def __new__(cls, *arguments: Any) -> Thing:
        made = object.__new__(cls)
        made.arguments = arguments
        made.state = None
        return made

    def __setstate__(self, state: Any) -> None:
        more = isinstance(state, dict) and isinstance(self.state, dict)  # a second one, as in ``amend``
        self.state = {**self.state, **state} if more else state

    # An object that is a list or a dict, and more, is filled by these.
    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class Tensor(Record):
    """A place for a tensor's bytes; they are not read.

    Attributes:
        key: the name of its member in the archive.
        storage: the class that says what its numbers are, ``torch.LongStorage``.
    """

    key: str
    storage: str = ""


def load_index(path: Path) -> Any:
    """What ``.metadata`` of ``torch.distributed.checkpoint`` holds, which is a pickle by itself; see ``load``.

    Raises:
        Refused: as ``load``; or it is larger than is read here.
        OSError: it cannot be read.
    """
    with _refusing(path, "an index of torch.distributed.checkpoint"):
        with open_regular(path) as file:
            content = file.read(2 * LARGEST + 1)
        if len(content) > 2 * LARGEST:
            raise TooLarge(f"it has more than {2 * LARGEST} bytes")
        return _Unpickler(io.BytesIO(content), _STEPS_OF_AN_INDEX).load()


def load_object(path: Path, more: Kinds) -> Any:
    """What a pickle by itself holds, which may name a few things more; see ``load``.

    Raises:
        Refused: as ``load``; or it is larger than is read here.
        OSError: it cannot be read.
    """
    with _refusing(path, "a pickle of an object"):
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise TooLarge(f"it has more than {LARGEST} bytes")
        return _Unpickler(io.BytesIO(content), more=more).load()


def whole_number(path: Path, name: str) -> int:
    """One whole number that a file of ``torch.save`` holds as a tensor, as ``step`` in ``train_state.pt``.

    Raises:
        Refused: as ``load``; or there is no such number.
        OSError: it cannot be read.
    """
    content = load(path)
    tensor = content.get(name) if isinstance(content, dict) else None
    given = tensor.arguments if isinstance(tensor, Thing) else ()
    place, offset = (*given, None, None)[:2]
    size = _BYTES.get(place.storage) if isinstance(place, Tensor) and offset == 0 else None
    if size is None:
        raise Refused(f"{path} holds no whole number {name}")
    with _refusing(path), open_regular(path) as file, zipfile.ZipFile(cast("IO[bytes]", _Archive(file))) as archive:
        number = _member(archive, f"data/{place.key}", 64)[:size]
        order = _member(archive, "byteorder", 64) if _names(archive, "byteorder") else b"little"
        if len(number) != size:
            raise Refused(f"its {name} has {len(number)} bytes")
        return int.from_bytes(number, "big" if order == b"big" else "little", signed=True)


def load(path: Path) -> Any:
    """What a file written by ``torch.save`` holds, with stand-ins for everything that is not plain data.

    Raises:
        Refused: the file names something unexpected; the message says what. Or it is no such file.
        OSError: it cannot be read.
    """
    with _refusing(path):
        with open_regular(path) as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PK\x03\x04":
                return _Unpickler(io.BytesIO(_structure(file))).load()
            content = io.BytesIO(file.read(LARGEST))  # the tensors behind may be cut off
        for _ in range(3):  # before torch 1.6: a magic number, a version, and the machine, then the data
            _Unpickler(content).load()
        return _Unpickler(content).load()


def load_part(path: Path, offset: int, length: int) -> Any:
    """As ``load``, of a part of a file: where ``torch.distributed.checkpoint`` keeps what is no tensor."""
    with _refusing(path, "a file with a part that torch.save has written"):
        if length > 4 * LARGEST:
            raise TooLarge(f"the part at {offset} has more than {4 * LARGEST} bytes")
        return _Unpickler(io.BytesIO(_structure(io.BytesIO(part_of(path, offset, length))))).load()


def structure_of(content: bytes, path: Path) -> tuple[bytes, Any, dict[int, int]]:
    """Of a whole file of ``torch.save``: its pickle, what that holds, and where each thing in it is complete.

    Args:
        path: where the content is from.

    Returns:
        The pickle; as ``load``; the ``id`` of a thing to the byte of the pickle behind which it has its state.

    Raises:
        Refused: as ``load``.
    """
    with _refusing(path):
        structure = _structure(io.BytesIO(content))
        file = io.BytesIO(structure)
        unpickler = _Unpickler(file)
        build, ends = unpickler.steps_of[pickle.BUILD[0]], {}

        def built(unpickler: Any) -> None:
            build(unpickler)
            ends[id(unpickler.stack[-1])] = file.tell()

        unpickler.steps_of[pickle.BUILD[0]] = built
        return structure, unpickler.load(), ends


def part_of(path: Path, offset: int, length: int) -> bytes:
    """So many bytes of a regular file.

    Raises:
        Refused: it has fewer.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        file.seek(offset)
        content = file.read(length)
    if len(content) < length:
        raise Refused(f"it ends within the part of {length} bytes at {offset}")
    return content


@contextmanager
def _refusing(path: Path, what: str = "a file of torch.save") -> Iterator[None]:
    """Whatever bytes do to what reads them is a ``Refused`` that names the file."""
    remember(path)
    try:
        yield
    except OSError:
        raise
    except Refused as refusal:
        raise type(refusal)(f"{path}: {refusal}") from None
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError) as error:
        raise Refused(f"{path} is not {what}: {error}") from None
    except (RecursionError, MemoryError) as error:
        raise Refused(f"{path} is nested deeper than a checkpoint is") from error
    except Exception as error:  # whatever bytes of a stranger make zipfile, its decompressors and pickle raise
        said = "" if isinstance(error, LookupError) else str(error)[:200]  # a number, or a byte that is no step
        raise Refused(f"{path} is not {what}, or is damaged{said and ': '}{said}") from error


class _Archive:
    """A file for ``zipfile``, which would read a directory of any size that the file names."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.left = 4 * LARGEST

    def read(self, size: int = -1) -> bytes:
        if size > LARGEST or self.left <= 0:
            raise Refused("its directory is larger than that of a checkpoint")
        found = self.file.read(LARGEST if size < 0 else size)
        self.left -= len(found)
        return found


def _structure(file: BinaryIO) -> bytes:
    """The one member of the archive that is not a tensor's bytes."""
    with zipfile.ZipFile(cast("IO[bytes]", _Archive(file))) as archive:
        return _member(archive, "data.pkl", LARGEST)


def _names(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """Members of that name, in the folder that torch.save puts around all of them."""
    return [entry for entry in archive.infolist() if f"/{entry.filename}".endswith(f"/{name}")]


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    found = _names(archive, name)
    if len(found) != 1:
        raise Refused(f"it is an archive with {len(found)} {name}, where torch.save writes one")
    if found[0].file_size > largest:
        raise Refused(f"its {name} has {found[0].file_size} bytes; that is no list of arguments")
    with archive.open(found[0]) as member:
        content = member.read(largest + 1)
    if len(content) > largest:
        raise Refused(f"its {name} is larger than it says")
    return content


class _Unpickler(pickle._Unpickler):
    """The interpreter of the standard library that is written in Python: every step is counted.

    The one in C makes a memo as long as its largest index, and hashes tuples to any depth.
    """

    def __init__(self, file: Any, most: int = _STEPS, more: Kinds = ()) -> None:
        super().__init__(file, encoding="latin1")
        self.most = most
        self.kinds = (*_KINDS, *more)
        self.known: dict[tuple[str, str], Any] = {}
        self.steps = 0
        steps: dict[int, Any] = {code: self._counted(step) for code, step in pickle._Unpickler.dispatch.items()}
        for code, keys in _HASHING.items():
            steps[code] = self._checked(steps[code], keys)
        steps |= dict.fromkeys(_NOT_WRITTEN, _not_written)
        self.steps_of = steps
        self.__dict__["dispatch"] = steps

    def _checked(self, step: Any, keys: Callable[[Any], list[Any]]) -> Any:
        def checked(unpickler: _Unpickler) -> None:
            for key in keys(unpickler):
                if not _can_be_key(key):
                    raise Refused("a key in it is neither a text nor a number")
            step(unpickler)

        return checked

    def _counted(self, step: Any) -> Any:
        def counted(unpickler: _Unpickler) -> None:
            unpickler.steps += 1
            if unpickler.steps > unpickler.most:
                raise TooLarge(f"it takes more than {unpickler.most} steps to read")
            step(unpickler)

        return counted

    def find_class(self, module: str, name: str) -> Any:
        key = ("builtins" if module == "__builtin__" else module, name)
        if key in _CONTAINERS:
            return _CONTAINERS[key]
        if key not in self.known:
            module = key[0]
            kinds = any(modules.match(module) and names.match(name) for modules, names in self.kinds)
            if not kinds and name not in _ALLOWED.get(module, "").split():
                raise Refused(f"it asks for {module}.{name}, which no checkpoint of Megatron-LM needs; nothing was run")
            # A class of its own for every file: what one file does to it, no other sees.
            self.known[key] = type(name, (Thing,), {"path": f"{module}.{name}", "__module__": __name__})
        return self.known[key]

    def persistent_load(self, key: Any) -> Tensor:
        _, storage, name = key[:3] if isinstance(key, tuple) and len(key) > 2 else (None, None, None)
        return Tensor(
            name if isinstance(name, str) else "",
            storage.path if isinstance(storage, type) and issubclass(storage, Thing) else "",
        )


# What puts things into mappings and sets, and which of the things on the stack are keys.
_HASHING: Final[dict[int, Callable[[Any], list[Any]]]] = {
    pickle.SETITEM[0]: lambda unpickler: unpickler.stack[-2:-1],
    pickle.SETITEMS[0]: lambda unpickler: unpickler.stack[::2],
    pickle.DICT[0]: lambda unpickler: unpickler.stack[::2],
    pickle.ADDITEMS[0]: lambda unpickler: unpickler.stack,
    pickle.FROZENSET[0]: lambda unpickler: unpickler.stack,
    pickle.REDUCE[0]: lambda unpickler: _keys_of_a_call(unpickler.stack[-2:]),
    pickle.NEWOBJ[0]: lambda unpickler: _keys_of_a_call(unpickler.stack[-2:]),
}
# Codes that torch.save does not write: extensions, buffers outside of the file, arrays of any size.
_NOT_WRITTEN: Final = [
    code[0]
    for code in (
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.BYTEARRAY8,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
    )
]


def _keys_of_a_call(called: list[Any]) -> list[Any]:
    """What ``set([…])`` or ``dict([(…, …)])`` puts into a set or takes as keys."""
    function, arguments = (*called, None, None)[:2]
    given = arguments[0] if isinstance(arguments, tuple) and arguments else ()
    if not isinstance(given, (list, tuple)):
        return []  # of a mapping or a set, whose keys were looked at
    if function in (set, frozenset):
        return list(given)
    if function in (dict, OrderedDict):
        return [pair[0] for pair in given if isinstance(pair, (list, tuple)) and pair]
    return []


def _not_written(unpickler: _Unpickler) -> None:
    raise Refused("it uses a code of pickle that torch.save does not write")


def _can_be_key(key: Any, depth: int = 3) -> bool:
    """Hashing a tuple goes as deep as the tuple, on the stack of C."""
    if isinstance(key, tuple):
        return depth > 0 and len(key) <= 100 and all(_can_be_key(item, depth - 1) for item in key)
    return isinstance(key, (str, bytes, int, float, bool, complex, type(None), type, Thing))


def plain(value: Any) -> Any:
    """Stand-ins as plain data: enum members, dtypes and functions as ``Named``, namespaces and the like as dicts.

    Raises:
        Refused: it is nested deeper, or has more values, than the arguments of a run; or a number is too large.
    """
    return _Plain().of(value)


class _Plain:
    """Makes plain data, and counts: what is met twice is there twice."""

    def __init__(self) -> None:
        self.met = 0
        self.depth = 0

    def of(self, value: Any) -> Any:
        self.met += 1
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Refused("it is nested deeper than a checkpoint is")
        if self.met > _MOST:
            raise Refused(f"it has more than {_MOST} values; that is no list of arguments")
        if isinstance(value, int) and value.bit_length() > _WIDEST:
            raise Refused("a number in it is larger than that of any argument")
        made = _plain(value, self.of)
        self.depth -= 1
        return made


def _plain(value: Any, plain: Callable[[Any], Any]) -> Any:
    if isinstance(value, type) and issubclass(value, Thing):
        return Named(value.path)
    if isinstance(value, Thing):
        return _plain_thing(value, plain)
    if isinstance(value, Tensor):
        return Named("torch.Tensor")
    if isinstance(value, dict):
        return {
            key if isinstance(key, (str, int, float, bool, type(None))) else repr(plain(key)): plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    return value


class Member(Record):
    """A member of an enum, by its value or, where the file says it, by its name."""

    enum: str
    value: Any
    name: str | None = None


def _plain_thing(thing: Thing, plain: Callable[[Any], Any]) -> Any:
    if thing.path in ("argparse.Namespace", "types.SimpleNamespace"):
        return plain(thing.state or {})
    if thing.path == "builtins.getattr":  # how Python 3.11 and later pickle a member of an enum
        of, name = (*thing.arguments, None, None)[:2]
        return (
            Member(of.path, None, name) if isinstance(of, type) and issubclass(of, Thing) else Named("builtins.getattr")
        )
    if thing.path.startswith("pathlib."):
        return "/".join(str(plain(part)) for part in thing.arguments).replace("//", "/")
    if thing.path == "torch.Size" and len(thing.arguments) == 1:
        return plain(thing.arguments[0])
    if len(thing.arguments) == 1 and thing.state is None and isinstance(thing.arguments[0], (int, str)):
        return Member(thing.path, thing.arguments[0])
    return Named(thing.path)
