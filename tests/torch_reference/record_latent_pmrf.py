"""Record tests/golden/latent_pmrf.npz with a checkout of Latent-PMRF's public code.

Command: python tests/torch_reference/record_latent_pmrf.py LATENT_PMRF   (needs torch, einops)

The file has what its networks make of drawn weights and inputs.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE / "support"), str(HERE.parent)]
import latent_pmrf_golden as golden  # noqa: E402

from elir_jax.parity.latent_pmrf_checkout import LatentPmrfCheckout  # noqa: E402


def main() -> None:
    """The file."""
    vae, hdit = golden.tensors()
    checkout = LatentPmrfCheckout(Path(sys.argv[1]), (golden.VAE, vae), (golden.HDIT, hdit))
    np.savez_compressed(golden.GOLDEN, **golden.outputs(checkout))
    print(f"wrote {golden.GOLDEN}: {golden.GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
