"""Images per second of the train step and of restoration, with compile time apart.

Command: python benchmarks/speed.py [--config configs/bfr.py] [--sizes 256 512] [--repeats 5]
Weights are untrained: speed does not depend on them. Figures are medians of the repeats.
"""

import argparse
import importlib
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from elir_jax import build  # noqa: E402
from elir_jax.build.method import Method  # noqa: E402
from elir_jax.training.parallel import parallel_step, replicate  # noqa: E402
from elir_jax.training.state import create_state  # noqa: E402
from elir_jax.types import Batch  # noqa: E402


def seconds(call, repeats: int) -> tuple[float, float]:
    """(seconds of the first call, median seconds of the later ones)."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def images(rows: int, size: int) -> np.ndarray:
    """Noise in [0, 1]."""
    return np.random.default_rng(0).random((rows, size, size, 3), np.float32)


def untrained(method: Method):
    """(trained, frozen) parameters."""
    return jax.jit(lambda key: method.init(key, "untrained"))(jax.random.key(0))


def measure_restoration(method: Method, size: int, rows: int, repeats: int):
    """Seconds of restoring ``rows`` images at once on one device, collapsed weights."""
    params, frozen = untrained(method)
    params = jax.jit(method.for_inference)(params)
    keys = jax.random.split(jax.random.key(1), rows)
    program = jax.jit(method.restore)
    return seconds(lambda: program(params, frozen, images(rows, size), keys), repeats)


def measure_training(method: Method, config, size: int, rows: int, repeats: int):
    """Seconds of one update with ``rows`` pairs on each device."""
    optimizer, step = build.build_step(config, method)
    step = parallel_step(step)
    number = np.arange(rows * jax.local_device_count(), dtype=np.int32)
    x = images(len(number), size)
    batch = Batch(x_hq=x, x_lq=x, record=number, slot=number)
    state = replicate(create_state(*untrained(method), optimizer))

    def call():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return seconds(call, repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--train-batch", type=int, default=2, help="pairs on each device")
    options = parser.parse_args()

    path, _, variant = options.config.partition(":")
    config = importlib.import_module(f"configs.{Path(path).stem}").get_config(variant)
    method = build.METHODS[config.method](config)
    print(f"{options.config} on {jax.local_device_count()} x {jax.devices()[0].device_kind}")
    print(f"{'':<12}{'size':>6}{'batch':>7}{'compile (s)':>13}{'step (s)':>10}{'images/s':>10}")
    for size in options.sizes:
        for name, rows, result in (
            ("restore", 1, measure_restoration(method, size, 1, options.repeats)),
            (
                "train_step",
                options.train_batch * jax.local_device_count(),
                measure_training(method, config, size, options.train_batch, options.repeats),
            ),
        ):
            first, later = result
            print(
                f"{name:<12}{size:>6}{rows:>7}{first - later:>13.1f}{later:>10.3f}"
                f"{rows / later:>10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
