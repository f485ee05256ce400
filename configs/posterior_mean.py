"""An estimate of the posterior mean in pixels: SwinIR, PMRF's first stage. docs/pmrf.md has more.

Command: python train.py --config configs/posterior_mean.py:TASK --config.data.path=FFHQ_FOLDER
TASK is denoising (the same without a name), super_resolution, inpainting or colorization: at
256x256, as PMRF trains its estimators. bfr is blind face restoration at 512x512, as DifFace trained
the one that PMRF takes over. tiny is a small one for denoising, on the photographs that
scikit-image ships: two minutes of CPU time; input 11.47 dB PSNR, restored 21.46 dB.
"""

from ml_collections import ConfigDict

from configs import common

TASKS = ("denoising", "super_resolution", "inpainting", "colorization", "bfr")


def get_config(variant: str = ""):
    config = begin("posterior_mean", variant)
    config.objective = ConfigDict()
    config.objective.loss = "mse"  # mse | l1
    config.objective.clip = True  # the estimate is clipped to [0, 1] inside the loss
    if variant == "bfr":
        config.num_steps = 300_000
        config.batch_size = 32
        config.objective.loss, config.objective.clip = "l1", False
        config.optimizer.learning_rate = 5e-5
        config.optimizer.schedule = "cosine"
    if variant == "tiny":
        config.num_steps = 1000
    return config.lock()


def begin(method: str, variant: str) -> ConfigDict:
    """What training in pixels has in common: the task, SwinIR, the optimizer, the average.

    Raises ValueError for a variant that is neither a task nor ``tiny``.
    """
    if variant not in ("", "tiny", *TASKS):
        raise ValueError(f"unknown variant {variant!r}; one of: {', '.join(TASKS)}, tiny")
    config = common.default()
    for section in ("autoencoder", "encoder", "estimator", "velocity", "objective", "sampler"):
        del config[section]
    config.method = method
    config.num_steps = 273_000  # 1000 epochs of FFHQ's 70,000 images
    config.batch_size = 256
    config.dtype = "bfloat16"  # of what is computed; PyTorch calls it bf16-mixed
    config.data.fit = "resize"
    config.estimator = ConfigDict()  # SwinIR; swinir_M of PMRF
    config.estimator.weights = ""
    config.estimator.width = 120
    config.estimator.depths = (6, 6, 6, 6, 6)  # blocks of each group
    config.estimator.heads = 6
    config.estimator.features = 64  # on the way back to pixels
    config.optimizer.learning_rate = 5e-4
    config.optimizer.b2 = 0.95
    config.optimizer.weight_decay = 0.01
    config.ema.decay = 0.9999
    config.ema.ramp = "count"
    config.degradation.super_resolution.up = "nearest"
    config.degradation.name = "denoising" if variant in ("", "tiny") else variant
    if variant == "bfr":
        config.degradation.name = "difface"
        config.data.size = config.evaluation.size = 512
        config.estimator.width = 180  # swinir_L
        config.estimator.depths = (6,) * 8
    if variant == "tiny":
        config.update(
            batch_size=8,
            dtype="float32",
            log_every=10,
            checkpoint_every=100,
            data={"size": 64, "embedded": True, "workers": 0, "held_out": 4, "fit": "crop"},
            evaluation={"size": 128, "batch_size": 2},
            estimator={"width": 48, "depths": (2, 2), "features": 16},
        )
    return config
