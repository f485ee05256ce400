"""The model ``photo`` that ships: old, small and over-compressed photographs (docs/models).

Two runs, on two CPU cores. The first trains the posterior mean in pixels, the second the flow that
starts at it:

    python train.py --config configs/shipped_photo.py:mean --config.data.path=PHOTOGRAPHS
    python train.py --config configs/shipped_photo.py --config.data.path=PHOTOGRAPHS
        --config.estimator.weights=runs/shipped_photo-mean

Without PHOTOGRAPHS, they train on the photographs that scikit-image ships. ``tiny`` trains both at
once, in a minute.
"""

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("", "mean", "tiny")


def get_config(variant: str = ""):
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; one of: {', '.join(VARIANTS[1:])}")
    config = _mean() if variant == "mean" else _whole()
    config.degradation.name = "photographs"
    config.degradation.photographs = _faults()
    config.data.embedded = True
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 1.0
    config.ema.ramp_steps = 500.0
    if variant == "tiny":
        common.make_tiny(config)
        config.update(
            estimator={"widths": (8, 8, 8), "blocks": (1, 1, 1)},
            velocity={"hidden": 32, "num_mid_blocks": 1, "time_dim": 32},
            ema={"ramp_steps": 10.0},
            optimizer={"groups": {"estimator": {"frozen": False}}},
        )
    return config.lock()


def _faults() -> ConfigDict:
    """What the pictures meet (:mod:`elir_jax.data.degradations.photographs`)."""
    faults = ConfigDict()
    faults.intact = 0.1  # shares of the pictures; the rest goes through the chain
    faults.compressed = 0.5
    faults.twice = 0.25  # of the compressed
    faults.grey = 0.1  # of all
    faults.quality = (8, 95)
    faults.blur = (0.1, 3.0)  # of the chain, as the next three
    faults.scale = (1.0, 4.0)
    faults.noise = (0.0, 25.0)
    faults.chain_quality = (30, 95)
    return faults


def _estimator() -> ConfigDict:
    """A light U-Net of pixels."""
    estimator = ConfigDict({"kind": "pixel_unet", "weights": ""})
    estimator.widths = (48, 80, 96)  # at 1/2, 1/4 and 1/8 of the sides
    estimator.blocks = (2, 1, 2)  # residual blocks at each
    return estimator


def _mean() -> ConfigDict:
    """The posterior mean alone, with a loss that weighs slight faults as it weighs strong ones."""
    config = common.default()
    for section in ("autoencoder", "velocity", "sampler"):
        del config[section]
    config.method = "posterior_mean"
    config.num_steps = 6000
    config.batch_size = 8
    config.data.size = 96
    config.estimator = _estimator()
    config.objective = ConfigDict({"loss": "rmse", "clip": False})
    config.optimizer.learning_rate = 6e-4
    config.optimizer.warmup_steps = 300
    return config


def _whole() -> ConfigDict:
    """ELIR with that estimator, which stays as it is while the flow is trained."""
    config = common.default()
    config.num_steps = 600
    config.batch_size = 8
    config.data.size = 128
    config.autoencoder.trainable_encoder = False
    config.estimator = _estimator()
    config.velocity.hidden = 64
    config.objective.flow = "flow_matching"
    config.sampler.num_steps = 1
    config.sampler.fidelity = 0.0  # by looking: what the flow adds is grain more than detail
    config.optimizer.learning_rate = 2e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 50
    config.optimizer.groups = ConfigDict({"estimator": {"frozen": True}})
    return config
