"""Time restoration and train step: XLA, PyTorch and onnxruntime, in one run and in turns.

Command: python benchmarks/speed.py [--reference-repo ELIR] [--repeats 5] [--json FILE] All sides
have the same untrained weights: speed does not depend on them. Each of the others takes turns with
ours, after a first call of each, which compiles; seconds are medians, and a ratio is that of its
turns. Busy are the cores that a call keeps busy:
CPU time of the process over wall time. ``--reference-repo`` is a checkout of the release; without
it, the minimal implementation of the tests is used. A side whose packages are not installed is left
out; onnxruntime restores only. ``--only train_step`` times an update instead of a restoration.
Operations are those of our program before XLA rewrites it; the peak is the rate of a float32 matrix
product in the same run.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from elir_jax.devices.cpu import keep_cores_busy  # noqa: E402

TRAIN = "train_step"
if not any(TRAIN in word for word in sys.argv):  # as --only train_step or --only=train_step
    keep_cores_busy()  # as the commands that restore do, before jax compiles

from benchmarks.onnx_side import OnnxSide, installed  # noqa: E402
from benchmarks.timing import OURS, Timing, in_pairs, take_turns  # noqa: E402
from benchmarks.torch_side import OWN, TorchSide, modes  # noqa: E402
from elir_jax import compose  # noqa: E402
from elir_jax.compose.restoring import whole_pictures  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.devices.mesh import parallel_step, replicate  # noqa: E402
from elir_jax.fields import sizes  # noqa: E402
from elir_jax.inference.one_program import run_parts  # noqa: E402
from elir_jax.methods.elir import inference_form  # noqa: E402
from elir_jax.methods.method import untrained  # noqa: E402
from elir_jax.networks.layers import collapse  # noqa: E402
from elir_jax.networks.unet import UNet  # noqa: E402
from elir_jax.training.state import create_state  # noqa: E402
from elir_jax.training.step import StepRequest  # noqa: E402
from elir_jax.types import Batch  # noqa: E402

ONNX = "onnxruntime"
ON_CPU = jax.default_backend() == "cpu"  # else images lie on the device, as those of PyTorch do
SIDE = 4096  # of the matrices that measure the peak


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the result; seconds are of a whole batch."""

    name: str
    size: int
    batch: int
    ours_s: float
    torch_as_shipped_s: float | None
    torch_best_s: float | None
    torch_best_mode: str | None
    onnx_s: float | None
    x_as_shipped: float | None  # PyTorch's seconds over ours, in its turns
    x_best: float | None
    busy: dict[str, float]  # cores, of ours, PyTorch's best mode and onnxruntime
    first_call_s: float
    flops: float
    share_of_peak: float


def images(rows: int, size: int) -> np.ndarray:
    """Noise in [0, 1]."""
    return np.random.default_rng(0).random((rows, size, size, 3), np.float32)


class Bench:
    """One configuration, on both sides."""

    def __init__(self, config, repository: Path | None, expanded: bool):
        self.config, self.method = config, compose.build_method(config)
        init = jax.jit(lambda key: self.method.init(key, untrained))
        self.params, self.frozen = init(jax.random.key(0))
        self.torch, self.onnx = None, None
        if installed() and not expanded and ON_CPU:
            self.onnx = OnnxSide(config, self.method, self.params, self.frozen)
        if repository is not None:
            theirs = self.params if expanded else collapse(self.params)
            self.torch = TorchSide(
                repository,
                {"decoder": self.frozen["decoder"]} | theirs,
                config.objective.num_segments if expanded else self.steps,
                config.objective.sigma_s,
                config.precision,
            )

    @property
    def steps(self) -> int:
        """Euler steps of a restoration."""
        return self.config.sampler.num_steps or self.config.objective.num_segments

    def others(self, call: str, x: np.ndarray, chosen: list[str]) -> dict[str, Callable]:
        """What makes the same call on onnxruntime and PyTorch, in each or the ``chosen`` modes."""
        found = {}
        if self.onnx and call == "restorer":
            found[ONNX] = functools.partial(self.onnx.restorer, x)
        if self.torch is not None:
            make, ways = getattr(self.torch, call), modes(self.torch.torch, self.config.dtype)
            found |= {mode: functools.partial(make, x, **ways[mode]) for mode in chosen or ways}
        return found

    def restoration(self, size: int, rows: int) -> tuple[Callable, float]:
        """(a call that restores ``rows`` images, on a CPU as ``Restorer`` does, its operations)."""
        params = jax.block_until_ready(jax.jit(self.method.for_inference)(self.params, self.frozen))
        key, x = jax.random.key(1), images(rows, size)
        program = jax.jit(functools.partial(run_parts, self.method.parts))
        flops = operations(program, params, self.frozen, x, key)
        # The sampler's loop is counted once.
        velocity, side = sizes(self.config.velocity), size // 8
        velocity["form"] = inference_form(self.config.dtype)
        z = jnp.zeros((rows, side, side, self.config.autoencoder.latent_channels))
        one = operations(
            jax.jit(UNet(**velocity).apply), {"params": params["velocity"]}, z, jnp.zeros(rows)
        )
        if not ON_CPU:
            inputs = jax.device_put((params, self.frozen, x, key))
            return lambda: program(*inputs), flops + (self.steps - 1) * one
        pictures, weights = whole_pictures(self.method.parts), replicate((params, self.frozen))
        call = functools.partial(pictures.restore, weights, list(x), 0, rows)
        return call, flops + (self.steps - 1) * one

    def training(self, size: int, rows: int) -> tuple[Callable, float]:
        """(a call that makes one update with ``rows`` pairs, its operations)."""
        optimizer, step = compose.build_step(self.config, self.method)
        mapped = parallel_step(step)
        number, x = np.arange(rows, dtype=np.int32), images(rows, size)
        batch = Batch(x_hq=x, x_lq=x, record=number, slot=number)
        batch = batch if ON_CPU else jax.device_put(batch)
        kept = jax.tree.map(jnp.copy, (self.params, self.frozen))  # the step donates its arguments
        state = replicate(create_state(*kept, optimizer))
        made = 0

        def call():
            nonlocal state, made
            state, metrics, _ = mapped(state, batch, StepRequest(made))
            made += 1
            return metrics

        def one(state, batch):
            pieces = jax.tree.map(
                lambda a: a[None], (batch, StepRequest(state.step, *jnp.zeros(2)))
            )
            return jax.vmap(lambda b, o: step(state, b, o, axis_name="one"), axis_name="one")(
                *pieces
            )

        return call, operations(jax.jit(one), state, batch)


def operations(program, *inputs) -> float:
    """Floating-point operations of a jitted function, before XLA rewrites it."""
    return program.lower(*jax.eval_shape(lambda *a: a, *inputs)).cost_analysis()["flops"]


def measured_peak() -> tuple[float, float]:
    """(operations a second, cores busy) of a float32 matrix product."""
    a = jnp.ones((SIDE, SIDE), jnp.float32)
    with jax.default_matmul_precision("highest"):
        product = jax.jit(jnp.matmul)
        found = take_turns({OURS: lambda: product(a, a)}, 5)[OURS]
    return 2.0 * SIDE**3 / found.seconds, found.busy


def load(path: str, changes: dict):
    """A configuration of this project, with some fields changed."""
    config = read_config(path)
    with config.unlocked():
        config.update(changes)
    return config


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py", help="of the restoration")
    parser.add_argument("--train-config", default="configs/super_resolution.py")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="to restore")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[0], help="Euler steps, a line each"
    )
    parser.add_argument("--train-batch", type=int, default=2)
    parser.add_argument("--only", choices=["restore", TRAIN], default="restore")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--precision", choices=["highest", "high"], default="highest")
    parser.add_argument("--modes", nargs="+", default=[], help="PyTorch's, by name; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--reference-repo", type=Path, default=OWN)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, write the file."""
    options = _options()
    repository = options.reference_repo
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: timing our side only")
        repository = None
    peak, busy = measured_peak()
    print(f"{jax.local_device_count()} x {jax.devices()[0].device_kind}, {options.dtype}, "
          f"{options.precision}; "
          f"matrix product {peak / 1e9:.0f} GFLOP/s, {busy:.2f} cores busy")  # fmt: skip
    titles = f"{'':<11}{'size':>5}{'batch':>6}{'ours':>9}{'shipped':>9}{'best':>9}{'onnx':>9}"
    print(f"{titles}  {'x shipped, x best':<19}{'busy: ours, best, onnx':<24}{'GFLOP':>6}"
          f"{'of peak':>9}  best mode")  # fmt: skip
    # As the release trains: the target is the network itself.
    changes = {name: getattr(options, name) for name in ("dtype", "precision")}
    changes |= {"objective": {"target": "online"}}
    rows: list[Row] = []
    for name, path, batches, steps in (
        *(("restore", options.config, options.batches, steps) for steps in options.steps),
        (TRAIN, options.train_config, [options.train_batch], 0),
    ):
        if options.only != name:
            continue
        chosen = changes | ({"sampler": {"num_steps": steps}} if steps else {})
        bench = Bench(load(path, chosen), repository, expanded=name == TRAIN)
        title = f"{name} {steps}" if steps else name
        for size in options.sizes:
            for batch in batches:
                measure = bench.restoration if name == "restore" else bench.training
                ours, flops = measure(size, batch)
                others = bench.others("restorer" if name == "restore" else "trainer",
                                      images(batch, size), options.modes)  # fmt: skip
                found = in_pairs(ours, others, options.repeats)
                alone = [] if found else [take_turns({OURS: ours}, options.repeats)[OURS]]
                row = _row(title, size, batch, alone, found, flops, peak)
                rows.append(row)
                _print(row)
                if options.json:
                    options.json.write_text(
                        json.dumps([dataclasses.asdict(r) for r in rows], indent=1)
                    )


def _row(
    name: str,
    size: int,
    batch: int,
    alone: list[Timing],
    found: dict[str, tuple[Timing, Timing]],
    flops: float,
    peak: float,
) -> Row:
    ours = alone or [pair[0] for pair in found.values()]
    seconds = statistics.median(turns.seconds for turns in ours)
    theirs = {mode: pair[1] for mode, pair in found.items()}
    ratios = {mode: other.seconds / own.seconds for mode, (own, other) in found.items()}
    onnx = theirs.get(ONNX)
    best = min(ratios.keys() - {ONNX}, key=ratios.get, default=None)
    busy = {side: theirs[side].busy for side in (best, ONNX) if side in theirs}
    busy[OURS] = statistics.median(turns.busy for turns in ours)
    shipped = theirs.get("as shipped")
    return Row(
        name, size, batch, seconds, shipped and shipped.seconds, best and theirs[best].seconds,
        best, onnx and onnx.seconds, ratios.get("as shipped"), ratios.get(best), busy,
        ours[0].first, flops, flops / seconds / peak,
    )  # fmt: skip


def _print(row: Row) -> None:
    def show(value):
        return f"{value:>8.3f}s" if value is not None else f"{'-':>9}"

    ratios = "-"
    if row.x_best is not None:
        shipped = "-" if row.x_as_shipped is None else f"{row.x_as_shipped:.2f}"
        ratios = f"{shipped}, {row.x_best:.2f}"
    sides = (OURS, row.torch_best_mode, ONNX)
    busy = ", ".join(f"{row.busy[side]:.2f}" if side in row.busy else "-" for side in sides)
    print(
        f"{row.name:<11}{row.size:>5}{row.batch:>6}{show(row.ours_s)}"
        f"{show(row.torch_as_shipped_s)}{show(row.torch_best_s)}{show(row.onnx_s)}  {ratios:<19}"
        f"{busy:<24}{row.flops / 1e9:>6.0f}{row.share_of_peak:>9.0%}  {row.torch_best_mode or '-'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
