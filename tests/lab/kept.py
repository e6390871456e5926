"""Mappings and sets that live in a folder: the memory of a stand-in that several processes share, and that may die."""

import os
import pickle
import threading
from collections.abc import Iterator, MutableMapping, MutableSet
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(MutableMapping[str, Value], Generic[Value]):
    """A mapping in a folder: other processes see each change at once, and a killed one takes none with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, key: str) -> Value:
        try:
            value: Value = pickle.loads((self.folder / key).read_bytes())
        except FileNotFoundError:
            raise KeyError(key) from None
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        temporary = self.folder / f".{key}.{os.getpid()}.{threading.get_ident()}"
        temporary.write_bytes(pickle.dumps(value))
        temporary.replace(self.folder / key)

    def __delitem__(self, key: str) -> None:
        try:
            (self.folder / key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(".")))

    def __len__(self) -> int:
        return len(list(iter(self)))


class KeptSet(MutableSet[str]):
    """A set in a folder."""

    def __init__(self, folder: Path) -> None:
        self.kept = Kept[str](folder)

    def __contains__(self, value: object) -> bool:
        return value in self.kept

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def add(self, value: str) -> None:
        self.kept[value] = value

    def discard(self, value: str) -> None:
        self.kept.pop(value, None)
