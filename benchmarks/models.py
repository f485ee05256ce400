"""The shipped models' figures: python benchmarks/models.py denoising|photo FOLDER [--checkpoint W]

On the centres of 256x256 of FOLDER's pictures, degraded as the model was trained, from one seed.
PSNR and SSIM; sharpness, the mean absolute gradient over the original's; the Fréchet distance
between the latents of the frozen encoder and the originals' (each place's latent is a sample); the
mean error of each channel in grey levels of 255. Beside the model: what classical filters make of
the same pictures, BM3D (pip install bm3d) and non-local means for denoising; for photo bilateral,
non-local means and median, each at the strength that serves FOLDER's pictures best. The pictures of
photo go through its chain of blur, reduction, noise and JPEG.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from elir_jax.compose.data import degradation_of  # noqa: E402
from elir_jax.compose.starting_weights import starting_weights  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.data.degradations.photographs import Photographs  # noqa: E402
from elir_jax.data.sources import find_images  # noqa: E402
from elir_jax.evaluation.present import draw_panels  # noqa: E402
from elir_jax.methods.autoencoder import build_autoencoder  # noqa: E402
from elir_jax.metrics.frechet import describe, frechet_distance  # noqa: E402
from elir_jax.metrics.psnr import psnr  # noqa: E402
from elir_jax.metrics.ssim import ssim  # noqa: E402
from elir_jax.pictures.images import centre, read_image, to_float, to_uint8, write_png  # noqa: E402
from elir_jax.restorer import Restorer  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SIZE = 256
STRENGTHS = {
    "median": (3, 5),
    "bilateral": (10, 20, 40, 80),
    "non-local means": (2, 4, 7, 10, 15),
}
Images = np.ndarray  # [n, SIZE, SIZE, 3], floats in [0, 1]
Filter = Callable[[np.ndarray], np.ndarray]


def pairs(model: str, folder: Path, most: int | None) -> tuple[Images, Images]:
    """(originals, degraded)."""
    config = read_config(str(ROOT / "configs" / f"shipped_{model}.py"))
    degrade = degradation_of(config)
    if isinstance(degrade, Photographs):
        degrade = degrade.chain()  # others are on the board (benchmarks/board.py)
    pictures = [centre(read_image(path), SIZE) for path in list(find_images(folder))[:most]]
    x_hq = np.stack([to_float(picture) for picture in pictures])
    x_lq = [degrade(np.random.default_rng([0, i]), x.copy()) for i, x in enumerate(x_hq)]
    return x_hq, np.stack(x_lq)


def filtered(name: str, strength: int, x: np.ndarray) -> np.ndarray:
    """A classical filter of an image in [0, 1]."""
    picture = to_uint8(x)
    if name == "median":
        picture = cv2.medianBlur(picture, strength)
    elif name == "bilateral":
        picture = cv2.bilateralFilter(picture, 0, strength, 2)
    else:
        picture = cv2.fastNlMeansDenoisingColored(picture, None, strength, strength, 7, 21)
    return to_float(picture)


def bm3d_filter(sigma: float) -> Filter | None:
    """BM3D for colour; None if it is not installed."""
    try:
        from bm3d import bm3d_rgb
    except ImportError:
        return None
    return lambda x: np.clip(bm3d_rgb(x, sigma), 0, 1).astype(np.float32)


def classical(model: str) -> dict[str, list[Filter]]:
    """Name -> the filter at each strength to try."""
    if model == "photo":
        return {
            name: [functools.partial(filtered, name, strength) for strength in strengths]
            for name, strengths in STRENGTHS.items()
        }
    from skimage.restoration import denoise_nl_means

    sigma = 0.35
    means = functools.partial(
        denoise_nl_means, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma,
        fast_mode=True, channel_axis=-1,
    )  # fmt: skip
    found = {"non-local means": [means]}
    bm3d = bm3d_filter(sigma)
    if bm3d is None:
        print("BM3D left out: pip install bm3d")
    return found | ({} if bm3d is None else {"BM3D": [bm3d]})


def best(filters: list[Filter], x_lq: Images, x_hq: Images) -> Images:
    """What the filter of the highest mean PSNR makes of the images."""
    tried = (np.stack([apply(x) for x in x_lq]) for apply in filters)
    return max(tried, key=lambda x: float(np.mean(psnr(x, x_hq))))


def gradient(x: Images) -> float:
    """Mean absolute difference of neighbouring pixels."""
    return float(np.mean([np.abs(np.diff(x, axis=axis)).mean() for axis in (1, 2)]))


def frozen_encoder():
    """Images -> latents of the embedded autoencoder, a row for each place."""
    config = read_config(str(ROOT / "configs" / "quickstart.py"))
    autoencoder = build_autoencoder(config)
    params = starting_weights(config)("autoencoder", lambda: autoencoder.init(jax.random.key(0)))
    encode = jax.jit(lambda x: autoencoder.encoder.apply({"params": params["encoder"]}, x))

    def features(x: Images) -> np.ndarray:
        found = np.concatenate([np.asarray(encode(x[i : i + 10])) for i in range(0, len(x), 10)])
        return found.reshape(-1, found.shape[-1])

    return features


class Figures(NamedTuple):
    """What images are beside their originals; means over the images."""

    psnr: float
    sharpness: float
    frechet: float


def figures_beside(x_hq: Images) -> Callable[[Images], Figures]:
    """A function from restorations, clipped to [0, 1], to their figures."""
    features = frozen_encoder()
    wanted, sharp = describe(features(x_hq)), gradient(x_hq)

    def figures(x: Images) -> Figures:
        distance = frechet_distance(describe(features(x)), wanted)
        return Figures(float(np.mean(psnr(x, x_hq))), gradient(x) / sharp, distance)

    return figures


def main() -> None:
    """Print one line for each stage and filter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=["denoising", "photo"])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--checkpoint", metavar="W", help="other weights than those that ship")
    parser.add_argument("--steps", type=int, help="Euler steps (default: the model's)")
    parser.add_argument("--most", type=int, help="pictures of FOLDER (default: all)")
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="also draw some of them")
    parser.add_argument("--rows", default="0,1,2,3", help="which, by number (default: 0,1,2,3)")
    parser.add_argument("--no-filters", action="store_true", help="the model alone")
    parser.add_argument("--fidelities", metavar="W,W...", default="",
                        help="also at these fidelities, such as 0,0.5,1")  # fmt: skip
    options = parser.parse_args()
    x_hq, x_lq = pairs(options.model, options.folder, options.most)
    restorer = Restorer.load(options.checkpoint or options.model, steps=options.steps)
    figures = figures_beside(x_hq)

    def show(name: str, x: Images) -> None:
        x = np.clip(x, 0, 1)
        found = figures(x)
        cast = 255 * (x - x_hq).mean((0, 1, 2))
        print(
            f"{name:<18} {found.psnr:6.2f} dB  SSIM {np.mean(ssim(x, x_hq)):.3f}  "
            f"sharpness {found.sharpness:.2f}  "
            f"Fréchet {found.frechet:7.3f}  "
            f"cast {' '.join(f'{value:+.2f}' for value in cast)}",
            flush=True,
        )

    print(f"{len(x_hq)} pictures, {options.model}: {restorer.title}")
    show("input", x_lq)
    if not options.no_filters:
        for name, filters in classical(options.model).items():
            show(name, best(filters, x_lq, x_hq))
    stages: list[list[np.ndarray]] = []
    for i in tqdm(range(0, len(x_lq), 10), unit="batch", leave=False):
        stages += restorer.stages(list(x_lq[i : i + 10]), seed=0, every=True)
    names = restorer.stage_names
    for name, *images in zip(names, *stages, strict=True):
        if name in (names[0], names[-1]):
            show(name, np.stack(images))
    for fidelity in filter(None, options.fidelities.split(",")):
        given = {"steps": options.steps, "fidelity": float(fidelity)}
        knob = Restorer.load(options.checkpoint or options.model, **given)
        some = [x_lq[i : i + 10] for i in range(0, len(x_lq), 10)]
        show(f"fidelity {fidelity}", np.concatenate([knob(x) for x in some]))
    if options.picture is not None:
        panels = ["input", "posterior mean", "restored", "original"]
        rows = [
            [x_lq[i], stages[i][0].clip(0, 1), stages[i][-1].clip(0, 1), x_hq[i]]
            for i in map(int, options.rows.split(","))
        ]
        write_png(options.picture, draw_panels(panels, rows))


if __name__ == "__main__":
    main()
