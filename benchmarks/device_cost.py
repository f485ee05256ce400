"""What degrading on the device costs in a train step: operations, bytes and CPU time of one pair.

`benchmarks/data.py` prints it. Operations and bytes are XLA's cost analysis of the programs as they
were compiled for this machine's CPU. Seconds are CPU time, over all threads: other jobs of the
machine change them little.
"""

import time
from typing import NamedTuple

import jax
import numpy as np

from elir_jax import compose
from elir_jax.compose.data import build_data
from elir_jax.devices.mesh import compiled_step
from elir_jax.methods.method import untrained
from elir_jax.training.state import create_state
from elir_jax.training.step import StepRequest

REPEATS = 3


class Cost(NamedTuple):
    """Of one pair."""

    operations: float
    bytes: float
    seconds: float


def costs(config) -> tuple[Cost, Cost]:
    """(degrading one original, a train step with one pair) on one device."""
    with config.unlocked():
        config.data.degrade_on = "device"
        config.batch_size = 1
    method = compose.METHODS[config.method](config)
    data = build_data(config, method.extra)
    sample = data.maker.sample(np.random.default_rng(0), data.source[0], "")
    first = np.zeros(1, np.int32)
    batch = data.maker.batch(**{k: a[None] for k, a in sample.items()}, record=first, slot=first)

    prepare = jax.jit(data.prepare).lower(batch).compile()
    jax.block_until_ready(prepare(batch))  # the first call is slower
    pairs, degrading = _timed(prepare, [batch] * REPEATS)

    optimizer, step = compose.build_step(config, method)
    shapes = jax.eval_shape(
        lambda key: create_state(*method.init(key, untrained), optimizer), jax.random.key(0)
    )
    program = compiled_step(step, shapes, pairs)
    shard = jax.tree.map(lambda leaf: leaf[None], pairs)
    request = StepRequest(np.zeros(1, np.int32), *np.zeros((2, 1), np.float32))
    state = _drawn(shapes)
    _, training = _timed(lambda order: program(state, shard, order), [request])
    return _cost(prepare, degrading), _cost(program, training)


def _drawn(shapes):
    """Small random numbers in the place of weights: time does not depend on them."""
    rng = np.random.default_rng(0)

    def leaf(shape):
        if not np.issubdtype(shape.dtype, np.floating):
            return np.zeros(shape.shape, shape.dtype)
        return np.abs(rng.normal(0, 0.02, shape.shape)).astype(shape.dtype)

    return jax.tree.map(leaf, shapes)


def _timed(call, inputs):
    """(the last result, mean CPU seconds of a call)."""
    start = time.process_time()
    for one in inputs:
        result = jax.block_until_ready(call(one))
    return result, (time.process_time() - start) / len(inputs)


def _cost(program: jax.stages.Compiled, seconds: float) -> Cost:
    found = program.cost_analysis()
    return Cost(found["flops"], found["bytes accessed"], seconds)


def print_costs(name: str, config) -> None:
    """The table."""
    size = config.data.size
    degrading, training = costs(config)
    print(f"\n{name}: one pair of {size}x{size} on the device")
    print(f"{'':<24}{'GFLOP':>10}{'GB':>10}{'CPU s':>10}")
    for title, cost in (("degrading", degrading), ("train step without it", training)):
        print(
            f"{title:<24}{cost.operations / 1e9:>10.2f}{cost.bytes / 1e9:>10.3f}"
            f"{cost.seconds:>10.3f}"
        )
    shares = (a / b for a, b in zip(degrading, training, strict=True))
    print(f"{'degrading, of the step':<24}" + "".join(f"{share:>10.2%}" for share in shares))
