"""How exactly a method's float32 products are computed: ``config.precision``."""

import functools
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from elir_jax.compose.fields import choose
from elir_jax.methods.method import Method

PRECISIONS = {name: name for name in ("highest", "high", "default")}


def with_precision(config: ConfigDict, method: Method) -> Method:
    """The method with its objective and its parts traced at the precision of the configuration.

    ``highest`` is float32; ``high`` is TF32 on a GPU and three bfloat16 products on a TPU, as
    PyTorch's ``high``; ``default`` is the device's fastest, one bfloat16 product on a TPU. A CPU
    computes all three in float32. Raises UserError for another name.
    """
    precision = choose(PRECISIONS, "precision", config.precision)

    def at(fn: Callable) -> Callable:
        @functools.wraps(fn)
        def traced(*args, **kwargs):
            with jax.default_matmul_precision(precision):
                return fn(*args, **kwargs)

        return traced

    def part_at(part):
        return part._replace(apply=at(part.apply))

    return method._replace(
        objective=at(method.objective),
        parts=tuple(map(part_at, method.parts)),
        reconstruction=tuple(map(part_at, method.reconstruction)),
        target=None if method.target is None else part_at(method.target),
    )
