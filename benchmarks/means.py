"""Latent-PMRF's argument: the posterior mean in latents (option 1) against pixels (option 2).

Command: python benchmarks/means.py FOLDER latents=RUN,RUN,RUN pixels=RUN,RUN,RUN
Runs of one name differ in their seed; docs/latent_pmrf.md has the commands that train them. On the
centres of 256x256 of FOLDER's pictures, denoised as in benchmarks/models.py. For the decoded mean
and the restoration: PSNR; sharpness, the mean absolute gradient over the original's; the Fréchet
distance between latents of the embedded encoder. Mean over the runs, and their standard deviation.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.models import figures_beside, pairs  # noqa: E402
from elir_jax.restorer import Restorer  # noqa: E402

SHOWN = ("mean_decoded", "restored")
COLUMNS = ("PSNR (dB)", "sharpness", "Fréchet")


def main() -> None:
    """Print a line for each name and stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("runs", metavar="NAME=RUN,...", nargs="+")
    parser.add_argument("--most", type=int, help="pictures of FOLDER (default: all)")
    options = parser.parse_args()
    x_hq, x_lq = pairs("denoising", options.folder, options.most)
    figures = figures_beside(x_hq)
    print(f"{len(x_hq)} pictures; {'':<20}" + "".join(f"{name:>18}" for name in COLUMNS))
    for named in options.runs:
        name, _, runs = named.partition("=")
        table = np.array([_stages(Path(run), x_lq, figures) for run in runs.split(",")])
        for stage, mean, deviation in zip(SHOWN, table.mean(0), table.std(0), strict=True):
            cells = (f"{m:10.3f} +- {d:.3f}" for m, d in zip(mean, deviation, strict=True))
            print(f"{name:<16}{stage:<20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def _stages(run: Path, x_lq: np.ndarray, figures) -> list:
    """The figures of each stage of ``SHOWN``."""
    restorer = Restorer.load(run)
    found = [
        stages
        for i in range(0, len(x_lq), 10)
        for stages in restorer.stages(list(x_lq[i : i + 10]), seed=0, every=True)
    ]
    names = list(restorer.stage_names)
    places = names.index(SHOWN[0]), len(names) - 1
    return [figures(np.clip([stages[place] for stages in found], 0, 1)) for place in places]


if __name__ == "__main__":
    main()
