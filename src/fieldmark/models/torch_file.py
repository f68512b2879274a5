"""Tensors of a file that `torch.save` wrote, read as data: its pickle is taken apart and never run."""

import io
import mmap
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickletools import genops
from types import MappingProxyType
from typing import ClassVar, final

import torch
from torch import Tensor

from fieldmark.errors import WeightsFileError

MAX_PICKLE_BYTES = 4 * 1024**2
"""Of the description of the tensors, without their numbers; that of ResNet-152 and its optimizer is a tenth of it."""
MAX_AXES = 8
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""Begins what torch wrote before version 1.6."""

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "DoubleStorage": torch.float64,
        "FloatStorage": torch.float32,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }
)

_DAMAGE = (
    *(ValueError, TypeError, LookupError, OverflowError, RuntimeError),
    *(OSError, EOFError, struct.error, zipfile.BadZipFile),
)
"""What the libraries used here raise at damaged files."""


@dataclass(frozen=True, slots=True)
class _Name:
    """What a pickle would import: a name that is looked at and never looked up."""

    text: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """A row of numbers that several tensors may share."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor as the file describes it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def check(self) -> None:
        """Checks that it lies within its storage, and has no more elements than that."""
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or len(self.size) > MAX_AXES:
            raise ValueError(f"a tensor has {len(self.size)} sizes and {len(self.stride)} strides")
        if not all(isinstance(each, int) and each >= 0 for each in numbers):
            raise ValueError("a size, stride or offset is no number from 0 upwards")
        count, last = 1, self.offset
        for side, step in zip(self.size, self.stride, strict=True):
            count *= side
            last += (side - 1) * step
        if count > self.storage.count or (count and last >= self.storage.count):
            raise ValueError(f"a tensor of size {list(self.size)} reaches beyond its {self.storage.count} numbers")


def read_torch_file(path: Path) -> dict[str, object]:
    """What stands in the dictionary that was saved: tensors, dictionaries of tensors, and plain values.

    The zip files of torch from 1.6 on and the files before it are read; only what a state dict is made of is allowed
    in their pickle, and no name in it is ever imported. Nothing is taken into memory that the file does not hold.

    Raises:
        WeightsFileError: The file is missing, damaged, or holds something else than named tensors.
    """
    try:
        tree, storages = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if not isinstance(tree, dict):
            raise TypeError("it holds no dictionary of names and tensors")
        tensors: dict[str, Tensor] = {}
        return {name: _restore(value, storages, tensors) for name, value in tree.items() if isinstance(name, str)}
    except FileNotFoundError as error:
        raise WeightsFileError(path=path, reason="there is no such file") from error
    except _DAMAGE as error:
        raise WeightsFileError(path=path, reason=str(error) or type(error).__name__) from error


def _restore(value: object, storages: Mapping[str, bytes], loaded: dict[str, Tensor], *, depth: int = 1) -> object:
    """Described tensors made real, also those one dictionary further down."""
    if isinstance(value, dict) and depth:
        return {name: _restore(each, storages, loaded, depth=depth - 1) for name, each in value.items()}
    if not isinstance(value, _Stored):
        return value
    value.check()
    storage = value.storage
    if storage.key not in loaded:
        data = storages[storage.key]
        if len(data) != storage.count * storage.dtype.itemsize:
            raise ValueError(f"storage {storage.key!r} has {len(data)} bytes, its tensors say otherwise")
        numbers = torch.frombuffer(bytearray(data), dtype=storage.dtype) if data else torch.empty(0).to(storage.dtype)
        loaded[storage.key] = numbers
    if loaded[storage.key].dtype != storage.dtype:
        raise ValueError(f"storage {storage.key!r} is of two types")
    return loaded[storage.key].as_strided(value.size, value.stride, value.offset)


def _read_zip(path: Path) -> tuple[object, dict[str, bytes]]:
    """The description in the archive's `data.pkl`; each storage is an entry of its own."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its archive is packed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its archive says it holds more bytes than there are")
        described = next((entry for entry in entries if entry.filename.endswith("/data.pkl")), None)
        if described is None:
            raise ValueError("it is a zip archive, but not of torch.save")
        folder = described.filename.removesuffix("data.pkl")
        names = {entry.filename for entry in entries}
        order = archive.read(f"{folder}byteorder").decode() if f"{folder}byteorder" in names else "little"
        _check_order(is_little=order == "little")
        if described.file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"its description has {described.file_size:,} bytes, above {MAX_PICKLE_BYTES:,}")
        reader = _PickleReader()
        tree = reader.read(io.BytesIO(archive.read(described)))
        return tree, {key: archive.read(f"{folder}data/{key}") for key in reader.storages}


def _read_legacy(path: Path) -> tuple[object, dict[str, bytes]]:
    """Pickles of a mark, a version, facts of the machine, the description and the storages' keys; then the storages."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[257:262] == b"ustar":
            raise ValueError("it is a tar archive of PyTorch before 0.1.10, which is not read")
        stream = io.BytesIO(data[:MAX_PICKLE_BYTES])
        if _PickleReader().read(stream) != MAGIC_NUMBER:
            raise ValueError("it is no file of torch.save")
        _PickleReader().read(stream)
        machine = _PickleReader().read(stream)
        _check_order(is_little=isinstance(machine, dict) and machine.get("little_endian") is True)
        reader = _PickleReader()
        tree = reader.read(stream)
        keys = _PickleReader().read(stream)
        if not isinstance(keys, list):
            raise TypeError("its storages have no keys")
        storages: dict[str, bytes] = {}
        place = stream.tell()
        for key in keys:
            storage = reader.storages[key]
            count = int.from_bytes(data[place : place + 8], "little")
            end = place + 8 + storage.count * storage.dtype.itemsize
            if count != storage.count or end > len(data):
                raise ValueError(f"storage {key!r} is cut off")
            storages[key] = data[place + 8 : end]
            place = end
    return tree, storages


def _check_order(*, is_little: bool) -> None:
    if not is_little or sys.byteorder != "little":
        raise ValueError("its numbers have another order of bytes than this machine's")


@final
class _PickleReader:
    """A pickle to plain dictionaries, lists, tuples and described tensors; all else in it is an error.

    A pickle is a program for a small stack machine. This one knows the instructions that a state dict needs, and where
    a pickle asks to import or call something, it compares the name with the few that a state dict may have.
    """

    CONSTANTS: ClassVar[Mapping[str, object]] = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
    MAKERS: ClassVar[Mapping[str, Callable[[], object]]] = MappingProxyType(
        {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
    )
    VALUES: ClassVar[frozenset[str]] = frozenset(
        {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"}
        | {"BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"}
    )
    TUPLES: ClassVar[Mapping[str, int]] = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._actions: dict[str, Callable[[], None]] = {
            "PROTO": lambda: None,
            "FRAME": lambda: None,
            "MARK": lambda: self._marks.append(len(self._stack)),
            "TUPLE": lambda: self._stack.append(tuple(self._pop_to_mark())),
            "SETITEM": lambda: self._set_items([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda: self._set_items(self._pop_to_mark()),
            "APPEND": lambda: self._extend([self._stack.pop()]),
            "APPENDS": lambda: self._extend(self._pop_to_mark()),
            "MEMOIZE": lambda: self._memo.update({len(self._memo): self._stack[-1]}),
            "STACK_GLOBAL": self._name,
            "BINPERSID": self._refer,
            "REDUCE": self._call,
            "BUILD": self._build,
        }

    def read(self, stream: io.BytesIO) -> object:
        """The value that a pickle makes; the stream stands behind it."""
        for opcode, argument, _ in genops(stream):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("its pickle is cut off")

    def _step(self, name: str, argument: object) -> None:
        if name in self.CONSTANTS:
            self._stack.append(self.CONSTANTS[name])
        elif name in self.MAKERS:
            self._stack.append(self.MAKERS[name]())
        elif name in self.VALUES:
            self._stack.append(argument)
        elif name == "GLOBAL":
            self._stack.append(_Name(str(argument)))
        elif name in self.TUPLES:
            self._marks.append(len(self._stack) - self.TUPLES[name])
            self._stack.append(tuple(self._pop_to_mark()))
        elif name in ("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET") and isinstance(argument, int):
            self._remember(argument, is_put=name.endswith("PUT"))
        elif name in self._actions:
            self._actions[name]()
        else:
            raise ValueError(f"its pickle has the instruction {name}, which a state dict has not")

    def _remember(self, place: int, *, is_put: bool) -> None:
        if is_put:
            self._memo[place] = self._stack[-1]
        else:
            self._stack.append(self._memo[place])

    def _pop_to_mark(self) -> list[object]:
        start = self._marks.pop()
        if not 0 <= start <= len(self._stack):
            raise ValueError("its pickle takes what is not there")
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _set_items(self, pairs: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise TypeError("its pickle puts items into what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int):
                raise TypeError(f"a key is no name, but {type(key).__name__}")
            target[key] = value

    def _extend(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("its pickle adds to what is no list")
        target.extend(values)

    def _name(self) -> None:
        attribute, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_Name(f"{module} {attribute}"))

    def _refer(self) -> None:
        """A reference to a storage: ("storage", its type, its key, its device, its count)."""
        match self._stack.pop():
            case ("storage", _Name(text), str(key), str(), int(count), *view) if view in ([], [None]) and count >= 0:
                kind = text.rpartition(" ")[2]
                if text.partition(" ")[0] not in ("torch", "torch.cuda") or kind not in DTYPES:
                    raise ValueError(f"a storage is of the type {text!r}, which is not read")
                self._stack.append(self.storages.setdefault(key, _Storage(key, DTYPES[kind], count)))
            case _:
                raise ValueError("its pickle refers to something else than a storage")

    def _call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        match called, arguments:
            case _Name("collections OrderedDict"), ():
                made: object = {}
            case _Name("collections OrderedDict"), ([*pairs],):
                made = {}
                self._stack.append(made)
                self._set_items([part for pair in pairs if isinstance(pair, list | tuple) for part in pair])
                self._stack.pop()
            case (
                _Name("torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor"),
                (_Storage() as storage, int(offset), tuple(size), tuple(stride), *_),
            ):
                made = _Stored(storage, offset, size, stride)
            case _Name("torch._utils _rebuild_parameter"), (_Stored() as made, *_):
                pass
            case _Name("torch Size"), ([*size] | tuple(size),):
                made = tuple(size)
            case _:
                name = called.text.replace(" ", ".") if isinstance(called, _Name) else type(called).__name__
                raise ValueError(f"its pickle calls '{name}', which is no part of a state dict; nothing was run")
        self._stack.append(made)

    def _build(self) -> None:
        """Attributes of a dictionary, such as the versions of its layers, tell nothing of the tensors."""
        self._stack.pop()
        if not isinstance(self._stack[-1], dict):
            raise TypeError("its pickle sets the state of what is no dictionary")
