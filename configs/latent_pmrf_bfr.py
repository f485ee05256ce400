"""Latent-PMRF for blind face restoration at 512x512 (Luo et al., 2025). docs/pmrf.md has more.

Command: python train.py --config configs/latent_pmrf_bfr.py --config.data.path=FFHQ_512_FOLDER
The paper's velocity (patch size 1, 2 + 4 + 6 blocks; section 6.1) in the latents of TAESD3. Widths
are those of PMRF's network, since the paper names none. The posterior mean is DifFace's SwinIR, as
for configs/pmrf_bfr.py.

latent_mean estimates the posterior mean in latents (option 1 of section 3.2): ELIR's encoder and
estimator, trained beside the velocity.

tiny is a small one for denoising, in the latents of the embedded autoencoder, on the photographs
that scikit-image ships, after configs/posterior_mean.py:tiny. tiny_latent_mean is both.
"""

from ml_collections import ConfigDict

from configs import pmrf

VARIANTS = ("", "latent_mean", "tiny", "tiny_latent_mean")


def get_config(variant: str = ""):
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; one of: {', '.join(VARIANTS[1:])}")
    tiny, latent_mean = variant.startswith("tiny"), variant.endswith("latent_mean")
    config = pmrf.get_config("tiny" if tiny else "bfr").unlock()
    config.method = "latent_pmrf"
    config.autoencoder = ConfigDict()
    config.autoencoder.kind = "taesd"  # taesd | sim_vae
    config.autoencoder.weights = "hub:madebyollin/taesd3"
    config.autoencoder.width = 64
    config.autoencoder.latent_channels = 16
    config.num_steps = 400_000
    config.batch_size = 64
    config.dtype = "float32"
    config.optimizer.weight_decay = 0.0
    config.velocity.widths = (256, 512, 1024)
    config.velocity.depths = (2, 4, 6)
    config.velocity.kernels = (7, 7, 0)
    del config.velocity.patch
    config.objective.sigma_s = 0.1  # the paper's text has no noise: docs/latent_pmrf.md
    # Draw latents from the autoencoder's posterior, as the release does at its source; Sim-VAE only
    config.objective.sample_latents = False
    config.estimator.kind = "swinir"  # swinir: in pixels | rrdb: in latents, trained beside
    if latent_mean:
        config.encoder = ConfigDict({"weights": ""})  # the trained one: configs/common.py
        config.estimator = ConfigDict(
            {"kind": "rrdb", "weights": "", "hidden": 96, "num_blocks": 3, "form": "plain"}
        )
    if tiny:
        config.update(num_steps=500, batch_size=8)
        config.autoencoder.update(weights="embedded", width=48)
        config.velocity.update(widths=(64, 128), depths=(2, 2), kernels=(7, 0), head_dim=16)
    if tiny and latent_mean:
        config.estimator.update(hidden=32, num_blocks=1)
    return config.lock()
