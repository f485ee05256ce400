"""The platform that a program is traced for: "cpu", "gpu" or "tpu".

Some layers have a form of their own on a CPU or a TPU. The platform is that of this process's
devices, unless a program is traced for a TPU that is not there.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_CHOSEN: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


def target() -> str:
    """The platform that the caller is traced for."""
    return _CHOSEN.get() or jax.default_backend()


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Within, programs are traced for ``platform``, whatever devices there are.

    JAX keeps the trace of a function: give it one that it has not traced for another platform.
    """
    token = _CHOSEN.set(platform)
    try:
        yield
    finally:
        _CHOSEN.reset(token)
