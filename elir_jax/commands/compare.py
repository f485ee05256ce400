"""Compare the numbers of this project with those of the PyTorch release.

python -m elir_jax.interop.compare --golden FILE.npz --checkpoint FILE
python -m elir_jax.interop.compare --reference-repo DIR --checkpoint FILE --image FILE...

The first form reads recorded arrays (docs/numerics.md describes their layout). The second imports
your own checkout of the release, with torch, and gives both sides the same images, noise and times.
Exit code 0: all rows pass; 1: some do not; 2: an error, explained in one line.
"""

import argparse
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.commands import frame
from elir_jax.errors import UserError
from elir_jax.flow.solvers import euler
from elir_jax.networks.taesd import FACTOR
from elir_jax.parity.arrays import Recording, read_arrays
from elir_jax.parity.checkout import Checkout, default_settings, draw_noise
from elir_jax.parity.recording import PIXELS, compare_golden, loss_rows, restoration_rows
from elir_jax.parity.table import Row, compare, print_table, write_json
from elir_jax.pictures.images import read_image, to_float
from elir_jax.weights.layouts import Source, open_source
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
        image = read_image(path)
        height, width = (side // factor * factor for side in image.shape[:2])
        if not height or not width:
            raise UserError(f"{path}: smaller than {factor}x{factor} pixels")
        x = to_float(middle(image, height, width))[None]
        rng = np.random.default_rng(options.seed)
        eps = rng.standard_normal((1, height // FACTOR, width // FACTOR, channels), np.float32)
        recorded = checkout.restoration(x, eps)
        golden = Recording(recorded, checkout.kind)
        ours = restored(sizes, params, x, eps, settings)
        theirs = golden["decoded"]
        difference = np.clip(ours, 0, 1).astype(np.float64) - np.clip(theirs, 0, 1)
        agreement[str(path)] = -10 * math.log10(max(float(np.mean(difference**2)), 1e-30))
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


def middle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle ``height`` x ``width`` pixels."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


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
        rows, agreement = compare_checkout(options)
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
    parser.add_argument("--reference-repo", type=Path, help="your checkout of the release")
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
