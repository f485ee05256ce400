"""Compare the numbers of this project with those of ELIR's PyTorch release, or of PMRF's code.

python -m elir_jax.interop.compare --golden FILE.npz --checkpoint FILE
python -m elir_jax.interop.compare --reference-repo DIR --checkpoint FILE --image FILE...

The first form reads recorded arrays (docs/numerics.md describes their layout). The second imports
your own checkout, with torch, and gives both sides the same images, noise and times: the release's
for its checkpoints, ohayonguy/PMRF for PMRF's (docs/pmrf.md).
Exit code 0: all rows pass; 1: some do not; 2: an error, explained in one line.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.commands import frame
from elir_jax.commands.compare_pmrf import compare_pmrf
from elir_jax.errors import UserError
from elir_jax.flow.path import euler
from elir_jax.networks.taesd import FACTOR
from elir_jax.parity.arrays import Recording, read_arrays
from elir_jax.parity.checkout import Checkout, default_settings, draw_noise
from elir_jax.parity.pictures import middle, psnr_between, read_middle
from elir_jax.parity.recording import PIXELS, compare_golden, loss_rows, restoration_rows
from elir_jax.parity.table import Row, compare, print_table, write_json
from elir_jax.pictures.images import to_float
from elir_jax.weights.layouts import Source, open_source
from elir_jax.weights.opening import is_pmrf
from elir_jax.weights.release import from_release
from elir_jax.weights.sizes import Sizes, read_sizes

# For entries of gradients, relative to the largest one: on any picture some pixels lie within
# rounding of a ReLU's kink, and if one of them changes side, a gradient jumps by its share.
ANY_PICTURE = 1e-2
NOISE = 0.1  # of the degraded crops that the losses are compared on
LOSS_CROP = 128  # pixels


def compare_checkout(options: argparse.Namespace) -> tuple[list[Row], dict[str, float]]:
    """All rows, and the PSNR between the two restorations of each image in dB."""
    source = open_source(options.checkpoint)
    sizes = read_sizes(source)
    if sizes.velocity is None:
        raise UserError(f"{source.path}: only an autoencoder; give a checkpoint of the release")
    settings = default_settings(options.num_steps, options.sigma_s)
    checkout = Checkout(options.reference_repo, source, sizes, settings)
    params = jax.tree.map(jnp.asarray, from_release(source, sizes.like()))
    factor = FACTOR * sizes.velocity.factor
    channels = sizes.autoencoder.latent_channels

    rows, agreement, crops = [], {}, []
    for path in options.image:
        image = read_middle(path, factor)
        height, width = image.shape[:2]
        x = to_float(image)[None]
        rng = np.random.default_rng(options.seed)
        eps = rng.standard_normal((1, height // FACTOR, width // FACTOR, channels), np.float32)
        recorded = checkout.restoration(x, eps)
        golden = Recording(recorded, checkout.kind)
        ours = restored(sizes, params, x, eps, settings)
        theirs = golden["decoded"]
        agreement[str(path)] = psnr_between(ours, theirs)
        found = restoration_rows(golden, sizes, params)
        found.append(compare("restored, end to end", ours, theirs, PIXELS))
        rows += [row._replace(stage=f"{path.name}: {row.stage}") for row in found]
        crop = min(height, width, LOSS_CROP) // factor * factor
        crops.append(middle(image, crop, crop))

    crops += [crop[:, ::-1] for crop in crops]  # the release's losses need a batch of two or more
    size = min(crop.shape[0] for crop in crops)
    x_hq = np.stack([to_float(middle(crop, size, size)) for crop in crops])
    rng = np.random.default_rng(options.seed + 1)
    x_lq = x_hq + np.float32(NOISE) * rng.standard_normal(x_hq.shape, np.float32)
    draws = draw_noise(options.seed + 2, len(crops), (size // FACTOR, size // FACTOR, channels))
    recorded = checkout.training(x_hq, x_lq, draws) | {"lq": x_lq}
    recorded["config"] = golden["config"]
    return rows + loss_rows(
        Recording(recorded, checkout.kind), sizes, params, ANY_PICTURE
    ), agreement


def restored(sizes: Sizes, params, x: np.ndarray, eps: np.ndarray, settings: dict) -> np.ndarray:
    """Our restoration of the pixels ``x``, with the given unit noise."""
    nets = sizes.networks()

    @jax.jit
    def run(params, x, eps):
        z_mmse = nets.estimate(params["estimator"], nets.encode(params["encoder"], x))
        z_1 = euler(
            lambda z, t: nets.velocity(params["velocity"], z, t),
            z_mmse + settings["sigma_s"] * eps,
            settings["k_steps"],
        )
        return nets.decode(params["decoder"], z_1)

    return np.asarray(run(params, x, eps))


def command(options: argparse.Namespace) -> int:
    """Compare, print and write the table; returns the exit code."""
    found: dict = {}
    if options.golden:
        if options.image or options.reference_repo:
            raise UserError("--golden has its own images; remove --reference-repo and --image")
        source: Source = open_source(options.checkpoint)
        rows = compare_golden(read_arrays(options.golden), source, options.form)
    elif options.reference_repo and options.image:
        by_name = compare_pmrf if is_pmrf(options.checkpoint) else compare_checkout
        rows, agreement = by_name(options)
        found["psnr_between_restorations_db"] = agreement
    else:
        raise UserError("give --golden FILE, or --reference-repo DIR with --image FILE...")
    print_table(rows)
    for name, value in found.get("psnr_between_restorations_db", {}).items():
        print(f"{name}: {value:.1f} dB PSNR between the two restorations")
    if options.json:
        write_json(options.json, rows, **found)
    return 0 if all(row.passed for row in rows) else 1


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.interop.compare"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--golden", type=Path, help="file of recorded arrays, .npz")
    parser.add_argument("--reference-repo", type=Path, help="your checkout of ELIR or of PMRF")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the weights, in any layout")
    parser.add_argument("--image", type=Path, nargs="+", default=[], help="pictures to compare on")
    parser.add_argument("--num-steps", type=int, default=5, help="K (default 5)")
    parser.add_argument("--sigma-s", type=float, default=0.1, help="source noise (default 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument(
        "--form",
        choices=("collapsing", "expanded"),
        default="collapsing",
        help="how to run expanded blocks; collapsed weights can run in one way only",
    )
    parser.add_argument("--json", type=Path, help="file to write the table to")
    return frame.exit_code_of(lambda: command(parser.parse_args(argv)), argv)
