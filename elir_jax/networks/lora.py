"""Low-rank adapters (LoRA; Hu et al., 2021) as functions of parameter trees; networks know nothing.

A kernel ``W`` of shape (..., in, out) is used as ``W + alpha / rank * down @ up``, with ``down`` of
shape (..., in, rank) and ``up`` of shape (rank, out). For a 3x3 kernel that is a 3x3 convolution to
``rank`` channels and a 1x1 one back, beside the original. ``up`` starts at zero, so a fresh adapter
changes nothing; ``down`` starts as any other kernel, so that ``up`` has a gradient at once.
"""

import dataclasses
import math
from fnmatch import fnmatchcase

import jax
import jax.numpy as jnp

from elir_jax.networks.layers import uniform_fan_in
from elir_jax.ranges import check_fields
from elir_jax.types import Params

KERNEL = "kernel"


@dataclasses.dataclass(frozen=True)
class LoRA:
    """Which modules have adapters, by patterns of their path such as ``*/block?/conv``.

    Raises ValueError if a value is out of range or if no module is named.
    """

    rank: int = 32
    alpha: float = 32.0
    targets: tuple[str, ...] = ("*/block?/conv", "final/conv", "*/time")

    def __post_init__(self):
        check_fields(self, rank="[1, inf)", alpha="(0, inf)")
        if not self.targets:
            raise ValueError("targets must name at least one module")

    def init(self, key: jax.Array, base: Params) -> Params:
        """Fresh adapters, a tree like ``base`` with ``{"down", "up"}`` for each named module.

        Raises ValueError if a pattern matches no module with a kernel.
        """
        kernels = _kernels(base)
        for pattern in self.targets:
            if not any(fnmatchcase(path, pattern) for path in kernels):
                raise ValueError(f"targets: {pattern} matches no module with a kernel")
        adapters: Params = {}
        for number, (path, kernel) in enumerate(sorted(kernels.items())):
            if any(fnmatchcase(path, pattern) for pattern in self.targets):
                *tables, name = path.split("/")
                branch = adapters
                for table in tables:
                    branch = branch.setdefault(table, {})
                branch[name] = self._adapter(jax.random.fold_in(key, number), kernel.shape)
        return adapters

    def _adapter(self, key: jax.Array, shape: tuple[int, ...]) -> Params:
        draw = uniform_fan_in(math.prod(shape[:-1]))
        return {
            "down": draw(key, (*shape[:-1], self.rank)),
            "up": jnp.zeros((self.rank, shape[-1])),
        }

    def merge(self, base: Params, adapters: Params) -> Params:
        """``base`` with the adapters added to its kernels, in float32."""
        if KERNEL in base:
            down, up = adapters["down"], adapters["up"]
            change = jnp.matmul(down, up, precision=jax.lax.Precision.HIGHEST)
            return base | {KERNEL: base[KERNEL] + self.alpha / self.rank * change}
        return {
            name: self.merge(child, adapters[name]) if name in adapters else child
            for name, child in base.items()
        }


def _kernels(base: Params, path: str = "") -> Params:
    """Kernels by the path of their module."""
    found = {}
    for name, child in base.items():
        if isinstance(child, dict):
            found |= _kernels(child, f"{path}/{name}" if path else name)
        elif name == KERNEL:
            found[path] = child
    return found
