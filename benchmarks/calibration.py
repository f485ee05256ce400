"""Is the deviation of samples right? python benchmarks/calibration.py MODEL FOLDER [--samples N]

On the centres of 256x256 of FOLDER's pictures, degraded as in benchmarks/models.py. Of N samples
of each picture, a pixel's band of 90 % is mean +- 1.645 deviation sqrt(1 + 1/N); a calibrated model
has nine tenths of the originals' pixels inside. Printed for each fidelity: the share inside, the
factor on the deviation that would bring nine tenths inside, the root mean square of deviation and
error, and the rank correlation of the two, by blocks of 8x8: does the map show where errors are?
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.models import pairs  # noqa: E402
from elir_jax.inference.sampling import seeds_from  # noqa: E402
from elir_jax.restorer import Restorer  # noqa: E402

SHARE, QUANTILE = 0.9, 1.645  # of a normal distribution, two-sided
LEAST = 1e-4  # a deviation below this is none
BLOCK = 8


def blocks(x: np.ndarray) -> np.ndarray:
    """Root mean squares over blocks of pixels and over channels, [n, h, w, 3] -> [places]."""
    n, h, w, _ = x.shape
    parts = x.reshape(n, h // BLOCK, BLOCK, w // BLOCK, BLOCK, 3)
    return np.sqrt(np.mean(np.square(parts), axis=(2, 4, 5))).ravel()


def main() -> None:
    """Print one line for each fidelity."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=["denoising", "photo"])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--samples", type=int, default=8, metavar="N")
    parser.add_argument("--fidelities", default="0.5,1", metavar="W,W...")
    parser.add_argument("--most", type=int, help="pictures of FOLDER (default: all)")
    options = parser.parse_args()
    x_hq, x_lq = pairs(options.model, options.folder, options.most)
    print(f"{len(x_hq)} pictures, {options.samples} samples of each")
    for fidelity in map(float, options.fidelities.split(",")):
        restorer = Restorer.load(options.model, fidelity=fidelity)
        seeds = seeds_from(0, options.samples)
        drawn = np.stack([
            np.concatenate([restorer(x_lq[i : i + 10], seed) for i in range(0, len(x_lq), 10)])
            for seed in tqdm(seeds, unit="sample", leave=False)
        ])  # fmt: skip
        deviation = drawn.std(axis=0, ddof=1) * np.sqrt(1 + 1 / options.samples)
        error = x_hq - drawn.mean(axis=0)
        ratio = np.abs(error) / np.maximum(deviation, LEAST)
        print(
            f"fidelity {fidelity}: {np.mean(ratio < QUANTILE):.1%} inside, factor "
            f"{np.quantile(ratio, SHARE) / QUANTILE:.2f}, deviation "
            f"{255 * np.sqrt(np.mean(np.square(deviation))):.2f} and error "
            f"{255 * np.sqrt(np.mean(np.square(error))):.2f} of 255, rank correlation "
            f"{spearmanr(blocks(deviation), blocks(error)).statistic:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
