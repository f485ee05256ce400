"""The autoencoder that ships with the project, from scratch on scikit-image's photographs.

Command: python train.py --config configs/autoencoder.py
Cost: 87 minutes on two shared CPU cores. Result: 26.08 dB PSNR on the whole astronaut, 24.61 dB
mean over the centres of both held-out photographs. The weights end up in the workdir, in
autoencoder.safetensors.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.method = "autoencoder"
    config.num_steps = 12_000
    config.batch_size = 8
    config.checkpoint_every = 500
    config.data.embedded = True
    config.data.workers = 0
    config.data.size = 64
    config.degradation.name = "identity"
    config.objective = {"gradient_weight": 0.5, "latent_weight": 0.01}
    config.optimizer.learning_rate = 1e-3
    config.optimizer.b2 = 0.99
    config.optimizer.weight_decay = 0.0
    config.ema.ramp_steps = 2000.0
    config.evaluation.size = 384
    return common.with_variant(config, variant)
