"""How many files of ours run to build a configuration, and in its first step?

Command: python benchmarks/doors.py [--config configs/bfr.py:tiny]

A reader who follows a call from file to file opens as many doors. Building is the method, the
optimizer, the step and the shapes of the state. The first step is traced, as it is once in a
training, but neither compiled nor run: the files that Python executes are the same. A file counts
if one of its functions runs; imports do not count. PYTHONPATH=CHECKOUT counts another checkout.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

sys.path.append(str(Path(__file__).resolve().parents[1]))  # after PYTHONPATH

import elir_jax  # noqa: E402
from elir_jax import compose  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.devices.mesh import AXIS  # noqa: E402
from elir_jax.methods.method import untrained  # noqa: E402
from elir_jax.training.state import create_state  # noqa: E402
from elir_jax.training.step import StepRequest  # noqa: E402
from elir_jax.types import Batch  # noqa: E402

PACKAGE = Path(elir_jax.__file__).parent


def files_of(fn: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What ``fn`` returns, and the package's files whose functions it called, by name."""
    seen: set[str] = set()

    def note(frame, event, given):
        if event == "call" and frame.f_code.co_name != "<module>":
            seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        found = fn()
    finally:
        sys.setprofile(None)
    ours = (Path(name) for name in seen)
    return found, sorted(
        str(path.relative_to(PACKAGE)) for path in ours if path.is_relative_to(PACKAGE)
    )


def main() -> None:
    """Print both numbers, each with the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="configs/bfr.py:tiny", help="FILE[:VARIANT]")
    config = read_config(parser.parse_args().config)

    def build():
        method = compose.build_method(config)
        optimizer, step = compose.build_step(config, method)

        def init():
            return create_state(*method.init(jax.random.key(0), untrained), optimizer)

        return step, jax.eval_shape(init)

    def first_step():
        size, rows = config.data.size, config.accumulate
        image = jax.ShapeDtypeStruct((1, rows, size, size, 3), jnp.float32)
        number = jax.ShapeDtypeStruct((1, rows), jnp.int32)
        batch = Batch(image, image, number, number)
        on_all = jax.vmap(
            functools.partial(step, axis_name=AXIS), (None, 0, None), None, axis_name=AXIS
        )
        return jax.eval_shape(on_all, state, batch, StepRequest(0))

    (step, state), built = files_of(build)
    _, stepped = files_of(first_step)
    for what, files in (("building", built), ("the first step", stepped)):
        print(f"{what}: {len(files)} files: {' '.join(files)}")


if __name__ == "__main__":
    main()
