"""Where the time of a restoration and of a train step goes, for each network alone.

Command: python benchmarks/parts.py [--config configs/bfr.py] [--sizes 256 512] [--repeats 5]
Forward: weights of inference, batch 1. Gradient: that of the sum of squares, with the contracted
weights of training, batch 2. Seconds are medians of calls that take turns. Operations are those of
our program before XLA rewrites it. The share is relative to a float32 matrix product in the same
run.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.speed import Bench, load, measured_peak, operations  # noqa: E402
from benchmarks.timing import take_turns  # noqa: E402
from elir_jax.methods.elir import build_networks  # noqa: E402

PAIRS = 2  # in a gradient


def calls_of(networks, params, frozen, size: int, rows: int) -> dict:
    """name -> (function of one network's parameters and its inputs, those)."""
    side, channels = size // 8, frozen["decoder"]["conv_in"]["kernel"].shape[2]
    x = jnp.ones((rows, size, size, 3)) * 0.5
    z = jax.random.normal(jax.random.key(0), (rows, side, side, channels))
    return {
        "encoder": (networks.encode, (params["encoder"], x)),
        "estimator": (networks.estimate, (params["estimator"], z)),
        "velocity": (networks.velocity, (params["velocity"], z, jnp.full(rows, 0.5))),
        "decoder": (networks.decode, (frozen["decoder"], z)),
    }


def gradient(fn):
    """The gradient of the sum of squares, with respect to the parameters and the input."""
    return jax.grad(lambda p, x, *t: jnp.sum(fn(p, x, *t) ** 2), argnums=(0, 1))


def main() -> None:
    """Print a line for each network, size and direction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    config = load(options.config, {})
    bench = Bench(config, None, expanded=False)
    trained, inference = build_networks(config)
    kinds = {
        "forward": (
            inference,
            jax.jit(bench.method.for_inference)(bench.params, bench.frozen),
            1,
            lambda f: f,
        ),
        "gradient": (
            trained,
            jax.jit(bench.method.fold)(bench.params, bench.frozen),
            PAIRS,
            gradient,
        ),
    }
    peak, _ = measured_peak()
    print(f"{jax.devices()[0].device_kind}; matrix product {peak / 1e9:.0f} GFLOP/s")
    titles = f"{'':<10}{'size':>5}{'batch':>6}  {'network':<10}{'ms':>8}{'GFLOP':>8}"
    print(f"{titles}{'of peak':>9}{'busy':>6}")
    for kind, (networks, params, rows, change) in kinds.items():
        for size in options.sizes:
            found = calls_of(networks, params, bench.frozen, size, rows)
            programs = {name: (jax.jit(change(fn)), inputs) for name, (fn, inputs) in found.items()}
            calls = {name: lambda p=p, i=i: p(*i) for name, (p, i) in programs.items()}
            times = take_turns(calls, options.repeats)
            for name, (program, inputs) in programs.items():
                flops = operations(program, *inputs)
                seconds, busy, _ = times[name]
                share = flops / seconds / peak
                print(
                    f"{kind:<10}{size:>5}{rows:>6}  {name:<10}{seconds * 1e3:>8.0f}"
                    f"{flops / 1e9:>8.1f}{share:>9.0%}{busy:>6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
