"""The autoencoder that ships with the project, from scratch on a folder of photographs.

Two commands; the second starts from what the first wrote:

    python train.py --config configs/autoencoder.py:linear --config.data.path=PHOTOGRAPHS
    python train.py --config configs/autoencoder.py --config.data.path=PHOTOGRAPHS
        --config.autoencoder.weights=runs/autoencoder-linear/autoencoder.safetensors

A third trains its decoder alone, so that networks trained in its latents keep their worth:

    python train.py --config configs/autoencoder.py:decoder --config.data.path=PHOTOGRAPHS

Without PHOTOGRAPHS, all train on the photographs that scikit-image ships. The weights end up in
the workdir, in autoencoder.safetensors. elir_jax/assets/README.md has cost and result.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.method = "autoencoder"
    config.num_steps = 6500
    config.batch_size = 64
    config.dtype = "bfloat16"
    config.checkpoint_every = 1000
    config.data.embedded = True
    config.data.degrade_on = "device"  # so that only 8-bit pixels travel there
    config.data.size = 128
    config.degradation.name = "identity"
    config.autoencoder.weights = "untrained"
    config.objective = {
        "l1_weight": 0.0,
        "mse_weight": 0.0,
        "log_mse_weight": 1.0,
        "gradient_weight": 0.0,
        "latent_weight": 0.1,
    }
    config.optimizer.learning_rate = 1e-3
    config.optimizer.b2 = 0.99
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.clip_norm = 1.0
    config.ema.ramp_steps = 2000.0
    if variant == "decoder":
        config.autoencoder.weights = "embedded"
        config.autoencoder.trainable_encoder = False
        config.num_steps = 400
        config.batch_size = 8
        config.dtype = "float32"
        config.objective.latent_weight = 0.0
        config.objective.sharpness_weight = 1.0
        config.optimizer.learning_rate = 2e-4
        config.optimizer.warmup_steps = 20
        config.ema.update(decay=0.98, ramp_steps=50.0)
        return config.lock()
    if variant != "linear":
        return common.with_variant(config, variant)
    config.num_steps = 3000
    config.batch_size = 16
    config.dtype = "float32"
    config.data.size = 64
    config.autoencoder.linear = True
    config.objective.log_mse_weight = 0.0
    config.objective.mse_weight = 10.0
    config.objective.latent_weight = 0.01
    config.optimizer.learning_rate = 3e-3
    config.ema.ramp_steps = 200.0
    return config.lock()
