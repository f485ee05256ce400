"""Record tests/golden/small.npz with the minimal PyTorch ELIR beside this file.

Command: python tests/torch_reference/make_golden.py (needs torch)
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from weights import collapsed, tensors_for  # noqa: E402

from elir_jax.networks.autoencoder import Autoencoder  # noqa: E402
from elir_jax.networks.rrdb import RRDBNet  # noqa: E402
from elir_jax.networks.unet import UNet  # noqa: E402
from elir_jax.parity.checkout import Checkout, default_settings, draw_noise  # noqa: E402
from elir_jax.weights.layouts import Source  # noqa: E402
from elir_jax.weights.sizes import Sizes, read_sizes  # noqa: E402

HEIGHT, WIDTH, BATCH, CHANNELS = 32, 48, 2, 4
SMALL = 300  # entries; larger gradients are recorded by their probes alone
TARGET = HERE.parent / "golden" / "small.npz"


EXPANDED = "expanded"
# 64 channels in 32 groups, so that no gradient vanishes.
SIZES = Sizes(
    Autoencoder(width=64, latent_channels=CHANNELS),
    RRDBNet(hidden=8, num_blocks=1, form=EXPANDED),
    UNet(hidden=64, channel_multipliers=(1, 2), num_mid_blocks=1, time_dim=16, form=EXPANDED),
)


def small_tensors() -> dict[str, dict[str, np.ndarray]]:
    """Weights of the small networks, ``over`` (expanded) and ``flat`` (the same, collapsed)."""
    over = tensors_for(SIZES)
    return {"over": over, "flat": collapsed(over, SIZES)}


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Two smooth coloured pictures, and the same with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / HEIGHT
    waves = rng.uniform(-6, 6, (BATCH, 3, 1, 1)) * x + rng.uniform(-6, 6, (BATCH, 3, 1, 1)) * y
    hq = np.float32(0.5 + 0.4 * np.sin(waves)).transpose(0, 2, 3, 1)
    lq = hq + 0.2 * rng.standard_normal(hq.shape, np.float32)
    return hq, lq


def main() -> None:
    """Both kinds of network into one file; gradient entries are the collapsed one's."""
    hq, lq = pictures()
    latent = (HEIGHT // 8, WIDTH // 8, CHANNELS)
    eps = np.random.default_rng(1).standard_normal((BATCH, *latent), np.float32)
    changed = {"dt": 0.1, "alpha": 0.01, "beta": 0.1, "betas": [0.8, 0.99]}
    settings = default_settings(num_steps=4, sigma_s=0.2) | changed
    draws = draw_noise(2, BATCH, latent)
    arrays = {}
    for tensors in small_tensors().values():
        source = Source(TARGET, "", tensors, str)
        checkout = Checkout(HERE, source, read_sizes(source), settings)
        arrays |= checkout.restoration(lq, eps) | checkout.training(hq, lq, draws)
    whole = {
        name: array
        for name, array in arrays.items()
        if not name.startswith("grad_over/")
        and (not name.startswith("grad_flat/") or array.size <= SMALL)
    }
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, **whole)
    print(f"wrote {TARGET}: {len(whole)} arrays, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
