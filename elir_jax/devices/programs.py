"""The programs of a function, one for each shape of its arguments: few of them are loaded.

XLA compiles a program for each shape, and jax would keep every one of them: tens of megabytes for
each size of picture. Here the programs that ran last stay loaded. An older one is packed, that is
serialized and compressed to a hundredth of its memory; to load it again takes a tenth of the time
that it took to compile, and it computes the same bits. If jax keeps programs on disk
(``JAX_COMPILATION_CACHE_DIR``), an older one is dropped, and read again from there.
"""

import threading
import zlib
from collections.abc import Callable, Hashable
from typing import Any

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from elir_jax.inference.whole_pictures import give_back

LOADED = 2  # programs of one function
PACKED = 128  # more of them, each half a megabyte at most, before the oldest is forgotten
FAST = 1  # zlib's level: higher ones save little


class Programs:
    """A function as programs, which ``build(*arguments)`` returns; threads may share them.

    A program serves all arguments of the same shapes and types.
    """

    def __init__(self, build: Callable[..., Callable]):
        self._build = build
        self._kept: dict[Hashable, _Program] = {}  # the one that ran last comes last
        self._lock = threading.Lock()  # of the dictionary

    def __call__(self, *arguments: Any) -> Any:
        """Run the program for these arguments, which is built or loaded first if need be."""
        leaves, tree = jax.tree.flatten(arguments)
        key = tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        with self._lock:
            program = self._kept.pop(key, None) or _Program()
            self._kept[key] = program
            for oldest in list(self._kept)[: -LOADED - PACKED]:
                del self._kept[oldest]
            others = list(self._kept.values())[:-LOADED]
        for other in others:
            other.unload()
        return program.load(lambda: self._build(*arguments))(*arguments)

    def count(self) -> tuple[int, int]:
        """The number of loaded programs, and of all that are known."""
        with self._lock:
            return sum(one.loaded is not None for one in self._kept.values()), len(self._kept)


class _Program:
    """One program: loaded, packed, or neither."""

    def __init__(self):
        self.loaded: Callable | None = None
        self._packed: tuple | None = None
        self._on_disk = False
        self._lock = threading.Lock()

    def load(self, build: Callable[[], Callable]) -> Callable:
        with self._lock:  # one thread compiles it, the others wait
            if self.loaded is None and self._packed is not None:
                self.loaded = _unpack(self._packed)
            elif self.loaded is None:
                self._on_disk = jax.config.jax_compilation_cache_dir is not None
                self.loaded = build()
                give_back()  # compiling takes more memory than the program
            return self.loaded

    def unload(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # a thread is just loading it: the next call unloads it
        try:
            # XLA packs a program that was read from disk without its code.
            if self.loaded is not None and self._packed is None and not self._on_disk:
                self._packed = _pack(self.loaded)
            self.loaded = None
        finally:
            self._lock.release()


def _pack(program: Callable) -> tuple | None:
    """The serialized program and how it is called; None if it must be compiled anew."""
    if not isinstance(program, jax.stages.Compiled):
        return None
    try:
        content, *trees = serialize(program)
    except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError):  # not on this platform
        return None
    devices = program.runtime_executable().local_devices()
    return zlib.compress(content, FAST), trees, devices


def _unpack(packed: tuple) -> Callable:
    content, trees, devices = packed
    return deserialize_and_load(
        zlib.decompress(content), *trees, devices[0].client, execution_devices=devices
    )
