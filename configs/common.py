"""Every field once, with its default and its meaning; each configuration changes a few.

The defaults are the paper's, for the tasks of section 5.1.2 (Table 5). The variant ``tiny`` turns
any configuration into a short test for a laptop. ``release`` trains a task as the released code
does, if that differs from the paper (docs/numerics.md).
"""

from ml_collections import ConfigDict


def default() -> ConfigDict:
    """All fields."""
    config = ConfigDict()
    config.method = "elir"  # elir | autoencoder | posterior_mean | pmrf | sim_vae | latent_pmrf
    config.seed = 0  # for weights, data order, degradations and noise
    config.num_steps = 164_000  # updates; 300 epochs of FFHQ's 70,000 images in batches of 128
    config.batch_size = 128  # global: over all devices, hosts and accumulated parts
    config.accumulate = 1  # parts of the batch that a device computes one after another
    config.dtype = "float32"  # compute type: float32 | bfloat16; parameters are always float32
    # Of float32 products: highest (float32) | high (TF32, or three bfloat16 products on a TPU) |
    # default (the device's fastest). In bfloat16 it changes nothing.
    config.precision = "highest"
    config.rematerialize = False  # compute activations of the autoencoder twice to save memory
    # How many steps with a value that is not finite the run may skip; one more stops it.
    config.max_skipped_steps = 0
    config.log_every = 50  # steps
    config.checkpoint_every = 1000  # steps
    config.keep_checkpoints = 2  # how many of the newest; keep 2 in case the newest is damaged
    config.evaluate_every = 0  # steps between evaluations during training; 0: only at the end
    # A figure such as restored.psnr: keep the best checkpoint by it (checkpoints/best); "": none
    config.keep_best = ""
    config.keep_every = 0  # also keep checkpoints at multiples of this step; 0: none

    config.data = _data()
    config.degradation = _degradation()
    _add_networks(config)
    config.objective = _objective()
    _add_optimizer(config)

    config.sampler = ConfigDict()
    config.sampler.num_steps = 0  # M; 0: as many as segments
    config.sampler.noise = True
    config.sampler.fidelity = 1.0  # from the posterior mean, 0, to the full sample, 1

    config.evaluation = ConfigDict()
    config.evaluation.size = 256  # side of the centre crop of each held-out image
    config.evaluation.batch_size = 8
    config.evaluation.num_samples = 4  # rows of the picture
    return config


def _data() -> ConfigDict:
    """The images, and how batches are made of them."""
    data = ConfigDict()
    # A folder of images, searched recursively; of pairs (hq/ and lq/); or a prepared dataset.
    data.path = ""
    data.embedded = False  # if no path is given: use the photographs that scikit-image ships
    data.eval_path = ""  # folder of images to evaluate on; "": hold out some of ``path``
    data.held_out = 16  # how many images of ``path`` to hold out, at most a fifth of them
    data.size = 256  # side of the training crops, in pixels
    # crop | resize (first the shorter side to ``size``) | pad (mirror small images, degrade 400x400
    # pixels, and cut the crop out of these)
    data.fit = "crop"
    data.degrade_on = "host"  # host | device: where training degrades (docs/degrading.md)
    data.workers = 8  # processes that make batches; 0: threads of the main one
    data.on_error = "raise"  # if an image is unusable: raise an error | skip it
    data.max_bad_share = 0.01  # with skip: the run stops if more than this share is unusable
    return data


def _degradation() -> ConfigDict:
    """The task: how a sharp image becomes the input."""
    degradation = ConfigDict()
    # blind_face_restoration | blind_super_resolution | colorization | denoising | difface |
    # identity | inpainting | photographs | super_resolution; elir_jax/data/degradations explains
    # their fields
    degradation.name = "denoising"
    degradation.denoising = ConfigDict({"sigma": 0.35, "eight_bit": False, "sigmas": ()})
    degradation.super_resolution = ConfigDict(
        {"factor": 8, "sigma": 0.05, "up": "bicubic", "eight_bit": False}
    )
    degradation.inpainting = ConfigDict({"masked": 0.9, "sigma": 0.1, "eight_bit": False})
    degradation.colorization = ConfigDict({"sigma": 0.25, "eight_bit": False})
    degradation.blind_face_restoration = ConfigDict(
        {  # equation 10: pixels, factor (or share of the side), grey levels of 255, JPEG quality
            "blur": (0.1, 12.0),
            "scale": (1.0, 12.0),
            "share": (),
            "noise": (0.0, 15.0),
            "quality": (30, 100),
            "eight_bit": False,
        }
    )
    degradation.difface = ConfigDict(
        {
            "blur": (0.1, 15.0),
            "scale": (0.8, 32.0),
            "noise": (0.0, 20.0),
            "quality": (30, 100),
            "grey": 0.01,
        }
    )
    degradation.blind_super_resolution = ConfigDict(
        {
            "second_order_probability": 0.0,  # 0: the release; 1: Real-ESRGAN
            "quality": (30, 95),
            "final_sinc_probability": 0.8,
            "scale": 4,
        }
    )
    return degradation


def _add_networks(config: ConfigDict) -> None:
    """The sections of the networks."""
    # Each network starts from its own ``weights``: untrained (or "") | embedded (the autoencoder) |
    # hub:OWNER/NAME | a file of TAESD's or of the release | converted weights | a run's folder or
    # checkpoint | a model's file, or the name of one that ships.
    config.autoencoder = ConfigDict()
    config.autoencoder.weights = "embedded"
    config.autoencoder.width = 48  # 48: the embedded one's; 64: TAESD's
    config.autoencoder.latent_channels = 16
    config.autoencoder.linear = False  # train the linear start (configs/autoencoder.py:linear)
    config.autoencoder.trainable_encoder = True  # train the encoder of the input (Tables 4 and 8)

    config.encoder = ConfigDict()  # the trained one, which reads the input; docs/training.md
    # autoencoder: a copy of the frozen one | as above | "": the one that estimator.weights were
    # trained with, if any, else the copy
    config.encoder.weights = ""

    config.estimator = ConfigDict()  # RRDB (section 7.1.1)
    config.estimator.kind = "rrdb"  # rrdb: of latents | pixel_unet: of pixels
    config.estimator.weights = ""
    config.estimator.hidden = 96
    config.estimator.num_blocks = 3
    config.estimator.form = "collapsing"  # collapsing | expanded | plain

    config.velocity = ConfigDict()  # U-Net (section 7.1.2)
    config.velocity.weights = ""
    config.velocity.hidden = 128
    config.velocity.channel_multipliers = (1, 2, 1, 2)
    config.velocity.num_mid_blocks = 1
    config.velocity.time_dim = 160
    config.velocity.form = "collapsing"


def _objective() -> ConfigDict:
    """The loss (section 4.3)."""
    objective = ConfigDict()
    objective.num_segments = 3  # K
    objective.dt = 0.05
    objective.alpha = 0.001
    objective.sigma_s = 0.1  # source noise, standard deviation in latent units
    objective.sigma_min = 1e-5
    objective.beta = 0.0  # the release's decoded-pixel term; the release uses 0.001
    objective.segment_weights = ()  # lambda_i; empty: all 1
    objective.flow = "consistency"  # consistency | flow_matching
    objective.target = "ema"  # ema (below equation 4) | online (below equation 8)
    objective.mmse_space = "latent"  # latent (equation 6) | pixel (equation 11)
    return objective


def _add_optimizer(config: ConfigDict) -> None:
    """The sections of the optimizer and of the averaged weights."""
    config.optimizer = ConfigDict()  # AdamW
    config.optimizer.learning_rate = 2e-4
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.02
    config.optimizer.schedule = "constant"  # constant | cosine: falls until decay_steps
    config.optimizer.warmup_steps = 0  # steps over which the rate rises linearly
    config.optimizer.warmup_from = 0.0  # the share of the rate at which the rise begins
    config.optimizer.final_share = 0.0  # the share of the rate at which cosine ends
    config.optimizer.decay_steps = 0  # where cosine ends; 0: at the last step
    config.optimizer.clip_norm = 0.0  # largest global norm of the gradients; 0: no limit
    # Exceptions by top-level name of the trained parameters: {"encoder": {"learning_rate": 1e-5},
    # "velocity": {"frozen": True}}.
    config.optimizer.groups = ConfigDict()

    config.ema = ConfigDict()
    config.ema.decay = 0.999
    config.ema.ramp = "exponential"  # over ramp_steps | count: min(decay, (1 + n) / (10 + n))
    config.ema.ramp_steps = 0.0  # 0: no ramp; the release uses 2000


def small_task(name: str, variant: str, release: dict, sigma_s: float = 0.1) -> ConfigDict:
    """A task of section 5.1.2, on faces at 256x256; ``release``: its degradation in the release."""
    config = default()
    config.objective.sigma_s = sigma_s
    config.data.fit = "resize"
    config.degradation.name = name
    config.autoencoder.weights = "hub:madebyollin/taesd3"
    config.autoencoder.width = 64
    changes = {
        "num_steps": 136_700,  # 250 epochs
        "objective": {"num_segments": 5},
        "sampler": {"num_steps": 3},
        "degradation": {name: release},
    }
    return with_variant(config, variant, changes)


def shipped_model(name: str, variant: str, **changes) -> ConfigDict:
    """A model that ships with the package: photographs, one GPU, minutes; ``name``: its task.

    Flow matching in place of consistency: its loss is some hundred times larger, so that thousands
    of steps teach the flow what consistency needs hundreds of thousands for (docs/models). The
    posterior mean is that of the pixels (equation 11).
    """
    config = default()
    config.num_steps = 3000
    config.batch_size = 64
    config.dtype = "bfloat16"
    config.checkpoint_every = 1000
    config.data.embedded = True
    config.data.size = 128
    config.data.degrade_on = "device"
    config.degradation.name = name
    config.estimator.num_blocks = 2
    config.velocity.hidden = 64
    config.objective.flow = "flow_matching"
    config.objective.mmse_space = "pixel"
    config.sampler.num_steps = 2  # more give more texture, and more grain
    config.optimizer.learning_rate = 5e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.optimizer.clip_norm = 1.0
    config.ema.ramp_steps = 500.0
    config.update(changes)
    return with_variant(config, variant)


def with_variant(config: ConfigDict, variant: str, release: dict | None = None) -> ConfigDict:
    """The configuration itself (variant ""), its ``tiny`` form, or its ``release`` form.

    ``release`` has the changes of the released code for this task. Raises ValueError if the variant
    is unknown.
    """
    if variant == "tiny":
        make_tiny(config)
        if config.method == "elir":
            config.update(
                autoencoder={"weights": "embedded", "width": 48},
                estimator={"hidden": 16, "num_blocks": 1},
                velocity={"hidden": 32, "num_mid_blocks": 1, "time_dim": 32},
                ema={"ramp_steps": 10.0},
            )
        else:
            config.autoencoder.width = 8
    elif variant == "release" and release is not None:
        config.update(
            precision="high",
            objective={"target": "online", "beta": 0.001},
            optimizer={"weight_decay": 0.01},  # the default of torch.optim.AdamW
            ema={"ramp_steps": 2000.0},
        )
        config.update(release)
    elif variant:
        known = "tiny" if release is None else "tiny, release"
        raise ValueError(f"unknown variant {variant!r}; one of: {known}")
    return config.lock()


def make_tiny(config: ConfigDict) -> None:
    """Change what every ``tiny`` form changes: few short steps on small crops."""
    config.update(
        num_steps=20,
        batch_size=4,
        dtype="float32",
        log_every=1,
        checkpoint_every=10,
        data={
            "size": 64,
            "embedded": True,
            "workers": 0,
            "held_out": 4,
            "degrade_on": "host",
        },
        evaluation={"size": 128, "batch_size": 2},
        optimizer={"warmup_steps": min(config.optimizer.warmup_steps, 2)},
    )
