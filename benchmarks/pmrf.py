"""PMRF at full size, beside its public code: time and memory of one restoration at 512x512.

Command: python benchmarks/pmrf.py [--steps 25] [--reference-repo PMRF]
Networks are those of configs/pmrf_bfr.py in float32, untrained: speed and memory do not depend on
the weights. Each side runs in a process of its own. The posterior mean and one step of the flow are
timed once everything is compiled, and a restoration of --steps Euler steps follows from them. CPU
time stands beside the clock's: on a machine that does other work, too, it says more. With
--reference-repo, a checkout of ohayonguy/PMRF, its code is run as well, with torch and einops;
elir_jax/parity/pmrf_checkout.py says what replaces NATTEN on a CPU.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CONFIG = "configs/pmrf_bfr.py"


def picture(size: int) -> np.ndarray:
    """Any picture."""
    return np.random.default_rng(0).random((size, size, 3), np.float32)


def ours(size: int) -> dict[str, list[float]]:
    """Seconds (by the clock, of CPU) of the mean and of a step."""
    import jax

    from elir_jax.compose import METHODS
    from elir_jax.compose.restoring import whole_pictures
    from elir_jax.configurations import read_config
    from elir_jax.methods.method import untrained

    config = read_config(CONFIG)
    with config.unlocked():
        config.update(dtype="float32", sampler={"num_steps": 1}, data={"size": size})
    method = METHODS["pmrf"](config)
    weights = method.init(jax.random.key(0), untrained)
    found = {}
    for name, part in zip(("mean", "step"), method.parts, strict=True):
        pictures = whole_pictures([part])
        pictures.restore(weights, [picture(size)], 0, 1)  # compiles
        found[name] = timed(lambda p=pictures: p.restore(weights, [picture(size)], 0, 1))
    return found


def public(size: int, checkout: Path) -> dict[str, list[float]]:
    """The same of the public code."""
    from elir_jax.parity.pmrf_checkout import PmrfCheckout
    from elir_jax.weights.pmrf import ARCHITECTURES

    names = {"hdit": "hdit_ImageNet256Sp4", "swinir": "swinir_L"}
    public = PmrfCheckout(checkout, **{k: (ARCHITECTURES[name], None) for k, name in names.items()})
    y = picture(size)[None]
    found = {}
    for name, run in (("mean", public.mean), ("step", public.step)):
        run(y)
        found[name] = timed(lambda run=run: run(y))
    return found


def timed(call) -> list[float]:
    """Seconds by the clock, and of CPU over all threads."""
    began = time.perf_counter(), time.process_time()
    call()
    return [time.perf_counter() - began[0], time.process_time() - began[1]]


def main() -> None:
    """Both sides, or one of them for a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=25, help="K of the restoration")
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--reference-repo", type=Path, help="your checkout of PMRF")
    parser.add_argument("--side", choices=("ours", "public"), help="this one alone, as JSON")
    options = parser.parse_args()
    if options.side:
        found = (
            ours(options.size)
            if options.side == "ours"
            else public(options.size, options.reference_repo.resolve())
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(found | {"peak": peak}))
        return
    for side in ("ours", "public") if options.reference_repo else ("ours",):
        call = [sys.executable, __file__, *sys.argv[1:], f"--side={side}"]
        said = subprocess.run(call, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        found = json.loads(said.splitlines()[-1])
        peak = found.pop("peak")
        whole = np.array(found["mean"]) + options.steps * np.array(found["step"])
        told = {**found, f"{options.steps} steps in all": whole}
        seconds = (f"{what} {t[0]:.1f} s ({t[1]:.1f} s of CPU)" for what, t in told.items())
        print(f"{side}: {', '.join(seconds)}; peak {peak:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
