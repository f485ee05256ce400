"""Sim-VAE, the autoencoder of Latent-PMRF (Luo et al., 2025).

Command: python train.py --config configs/sim_vae.py --config.data.path=PHOTOGRAPHS
Cost: 150,000 updates of 64 crops of 256x256. The paper's photographs are LSDIR's, cut to 512x512
and chosen by quality, with 10,000 of FFHQ. config.perceptual.weights names torchvision's VGG19 file
for the perceptual term, which is off without it. release trains as the released code does.

Section 6.1 prints steps, batch, crops and the rate. The factor of the perceptual term, the largest
norm of the gradients and the average are the released code's (docs/latent_pmrf.md).

tiny is a small one without the perceptual term, on the photographs that scikit-image ships.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = ""):
    if variant not in ("", "release", "tiny"):
        raise ValueError(f"unknown variant {variant!r}; one of: release, tiny")
    config = common.default()
    for section in ("autoencoder", "encoder", "estimator", "velocity", "objective", "sampler"):
        del config[section]
    config.method = "sim_vae"
    config.num_steps = 150_000
    config.batch_size = 64
    config.data.size = config.evaluation.size = 256
    config.degradation.name = "identity"
    config.autoencoder = ConfigDict()
    config.autoencoder.weights = ""
    config.autoencoder.channels = (128, 256, 512, 512)  # of each resolution, pixels first
    config.autoencoder.layers = 2  # residual blocks of a resolution; the decoder has one more
    config.autoencoder.mid_layers = 3  # the same between encoder and latents, and back
    config.autoencoder.latent_channels = 32  # 16 | 24 | 32 | 48 in the paper
    config.autoencoder.norm = "layer"  # layer | group (Table 2)
    config.autoencoder.upsample = "interpolate"  # interpolate | pixel_shuffle (a guess: Table 2)
    config.perceptual = ConfigDict()
    config.perceptual.weights = ""  # torchvision's VGG19; "": no perceptual term
    config.objective = ConfigDict()
    config.objective.pixel_weight = 2.0  # of L1 on [0, 1]; the paper's is on [-1, 1]
    config.objective.perceptual_weight = 0.05  # the release's; Real-ESRGAN's is 1.0
    config.objective.kl_weight = 1e-6
    config.optimizer.learning_rate = 1e-4
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 500
    config.optimizer.warmup_from = 0.1  # 1e-5
    config.optimizer.final_share = 0.01  # 1e-6
    config.optimizer.clip_norm = 1.0  # the release's, as the average
    config.ema.decay = 0.9999
    config.ema.ramp = "count"
    if variant == "release":
        config.optimizer.b2 = 0.99
        config.optimizer.weight_decay = 0.01
        config.optimizer.decay_steps = 200_500  # so the rate of the last update is 1.58e-5
    if variant == "tiny":
        config.update(
            num_steps=300,
            batch_size=4,
            log_every=10,
            checkpoint_every=100,
            data={"size": 64, "embedded": True, "workers": 0, "held_out": 4},
            evaluation={"size": 128, "batch_size": 2},
            autoencoder={
                "channels": (16, 32, 48, 48), "layers": 1, "mid_layers": 1, "latent_channels": 16,
            },
            optimizer={"learning_rate": 2e-3, "warmup_steps": 20},
        )  # fmt: skip
    return config.lock()
