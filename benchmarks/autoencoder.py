"""The embedded autoencoder's figures: python benchmarks/autoencoder.py [--weights W] [FOLDER]

PSNR, sharpness, colour cast and latents of the two photographs that its training never saw. If a
FOLDER of pictures is given, also of their 256x256 centres. Sharpness is the mean absolute gradient
over the original's; the colour cast is the mean error of each channel, in grey levels of 255.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.models import gradient  # noqa: E402
from elir_jax.compose.starting_weights import starting_weights  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.data.sources import EMBEDDED_HELD_OUT, EmbeddedPhotographs, find_images  # noqa: E402
from elir_jax.methods.autoencoder import build_autoencoder  # noqa: E402
from elir_jax.pictures.images import centre, read_image, to_float  # noqa: E402

SIZE = 256
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "quickstart.py"


def measure(encode, decode, image: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """(PSNR in dB, gradients of result and picture, mean error of each channel, latents)."""
    height, width = (side // 8 * 8 for side in image.shape[:2])
    x = to_float(image[:height, :width])
    z = encode(x[None])
    result = np.clip(np.asarray(decode(z))[0], 0, 1)
    error = result - x
    psnr = -10 * np.log10(np.mean(error**2, dtype=np.float64))
    gradients = np.array([gradient(result[None]), gradient(x[None])])
    return float(psnr), gradients, 255 * error.mean((0, 1)), np.asarray(z)


def main() -> None:
    """Print a line for each photograph, and one for the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path)
    parser.add_argument("--weights", default="embedded", help="as --config.autoencoder.weights")
    options = parser.parse_args()
    config = read_config(str(CONFIG))
    with config.unlocked():
        config.autoencoder.weights = options.weights
    autoencoder = build_autoencoder(config)
    params = starting_weights(config)("autoencoder", lambda: autoencoder.init(jax.random.key(0)))
    encode = jax.jit(lambda x: autoencoder.encoder.apply({"params": params["encoder"]}, x))
    decode = jax.jit(lambda z: autoencoder.decoder.apply({"params": params["decoder"]}, z))

    def show(
        name: str, psnr: float, gradients: np.ndarray, cast: np.ndarray, z: np.ndarray
    ) -> None:
        casts = " ".join(f"{value:+.2f}" for value in cast)
        sharpness = gradients[0] / gradients[1]
        print(
            f"{name:<12} {psnr:6.2f} dB  sharpness {sharpness:.2f}  cast {casts}  "
            f"latents' deviation {z.std():.2f}"
        )

    photographs = EmbeddedPhotographs(EMBEDDED_HELD_OUT)
    for number, name in enumerate(EMBEDDED_HELD_OUT):
        show(name, *measure(encode, decode, photographs[number]))
    if options.folder is not None:
        pictures = (centre(read_image(path), SIZE) for path in find_images(options.folder))
        found = [measure(encode, decode, picture) for picture in pictures]
        psnr, gradients, cast, z = zip(*found, strict=True)
        means = (np.mean(values, axis=0) for values in (psnr, gradients, cast))
        show(f"{len(found)} pictures", *means, np.concatenate(z))


if __name__ == "__main__":
    main()
