"""Every field once, with its default and its meaning; each configuration overrides a few.

Defaults are the paper's for the tasks of section 5.1.2 (Table 5). The variant ``tiny`` makes any
configuration a smoke run for a laptop; ``release`` trains a task as the released code does, where
that differs from the paper (docs/numerics.md).
"""

from ml_collections import ConfigDict


def default() -> ConfigDict:
    """All fields."""
    config = ConfigDict()
    config.method = "elir"  # elir | autoencoder
    config.seed = 0  # of weights, data order, degradations and noise
    config.num_steps = 164_000  # updates; 300 epochs of FFHQ's 70,000 images in batches of 128
    config.batch_size = 128  # global: over all devices, hosts and accumulated parts
    config.accumulate = 1  # parts of the batch that a device works on one after another
    config.dtype = "float32"  # compute: float32 | bfloat16; parameters are float32 always
    config.rematerialize = False  # compute activations of the autoencoder twice, keep fewer
    config.log_every = 50  # steps
    config.checkpoint_every = 1000  # steps
    config.keep_checkpoints = 2  # the newest; at least 2: should the newest be damaged
    config.evaluate_every = 0  # steps between evaluations during training; 0: only at the end
    # STAGE.METRIC, as restored.psnr: the best checkpoint by it is kept (checkpoints/best); "": none
    config.keep_best = ""
    config.keep_every = 0  # besides, those of steps that this divides; 0: none

    config.data = ConfigDict()
    # A folder of images, searched recursively; of pairs (hq/ and lq/); or a prepared dataset.
    config.data.path = ""
    config.data.embedded = False  # without a path: the photographs that scikit-image ships
    config.data.eval_path = ""  # folder of images to evaluate on; without: some of ``path``
    config.data.held_out = 16  # images of ``path`` kept for evaluation, a fifth of them at most
    config.data.size = 256  # side of the training crops, in pixels
    # crop | resize (the shorter side to ``size`` first) | pad (small images are mirrored, 400x400
    # pixels degraded, the crop cut out of those)
    config.data.fit = "crop"
    # host | device: where training's degraded pictures are made (docs/degrading.md)
    config.data.degrade_on = "host"
    config.data.workers = 8  # processes that make batches; 0: threads of the main one
    config.data.on_error = "raise"  # raise | skip: what an unusable image does
    config.data.max_bad_share = 0.01  # with skip: the run stops beyond this share of bad images

    config.degradation = ConfigDict()
    # blind_face_restoration | blind_super_resolution | colorization | denoising | identity |
    # inpainting | super_resolution; elir_jax/data says what each field means
    config.degradation.name = "denoising"
    config.degradation.denoising = ConfigDict({"sigma": 0.35, "eight_bit": False})
    config.degradation.super_resolution = ConfigDict(
        {"factor": 8, "sigma": 0.05, "up": "bicubic", "eight_bit": False}
    )
    config.degradation.inpainting = ConfigDict({"masked": 0.9, "sigma": 0.1, "eight_bit": False})
    config.degradation.colorization = ConfigDict({"sigma": 0.25, "eight_bit": False})
    config.degradation.blind_face_restoration = ConfigDict(
        {  # equation 10: pixels, factor (or share of the side), grey levels of 255, JPEG quality
            "blur": (0.1, 12.0),
            "scale": (1.0, 12.0),
            "share": (),
            "noise": (0.0, 15.0),
            "quality": (30, 100),
            "eight_bit": False,
        }
    )

    config.degradation.blind_super_resolution = ConfigDict(
        {
            "second_order_probability": 0.0,  # 0: the release; 1: Real-ESRGAN
            "quality": (30, 95),
            "final_sinc_probability": 0.8,
            "scale": 4,
        }
    )

    # Each network starts from its own ``weights``: untrained (or "") | embedded (the autoencoder) |
    # hub:OWNER/NAME | a file of TAESD's or of the release | converted weights | a run's folder.
    config.autoencoder = ConfigDict()
    config.autoencoder.weights = "embedded"
    config.autoencoder.width = 32  # 32: the embedded one's; 64: TAESD's
    config.autoencoder.latent_channels = 16
    config.autoencoder.linear = False  # train the linear start (configs/autoencoder.py:linear)
    config.autoencoder.trainable_encoder = True  # of the degraded image (Tables 4 and 8)

    config.estimator = ConfigDict()  # RRDB (section 7.1.1)
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

    config.objective = ConfigDict()
    config.objective.num_segments = 3  # K
    config.objective.dt = 0.05
    config.objective.alpha = 0.001
    config.objective.sigma_s = 0.1  # source noise, standard deviation in latent units
    config.objective.sigma_min = 1e-5
    config.objective.beta = 0.0  # the release's decoded-pixel term; the release uses 0.001
    config.objective.segment_weights = ()  # lambda_i; empty: all 1
    config.objective.flow = "consistency"  # consistency | flow_matching
    config.objective.target = "ema"  # ema (below equation 4) | online (below equation 8)
    config.objective.mmse_space = "latent"  # latent (equation 6) | pixel (equation 11)

    config.optimizer = ConfigDict()  # AdamW
    config.optimizer.learning_rate = 2e-4
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.02
    config.optimizer.schedule = "constant"  # constant | cosine: to 0 at the last step
    config.optimizer.warmup_steps = 0  # the rate rises linearly over so many steps
    config.optimizer.clip_norm = 0.0  # largest global norm of the gradients; 0: any
    # Exceptions by top-level name of the trained parameters: {"encoder": {"learning_rate": 1e-5},
    # "velocity": {"frozen": True}}.
    config.optimizer.groups = ConfigDict()

    config.ema = ConfigDict()
    config.ema.decay = 0.999
    config.ema.ramp = "exponential"  # over ramp_steps | count: min(decay, (1 + n) / (10 + n))
    config.ema.ramp_steps = 0.0  # 0: no ramp; the release's: 2000

    config.sampler = ConfigDict()
    config.sampler.num_steps = 0  # M; 0: as many as segments
    config.sampler.noise = True

    config.evaluation = ConfigDict()
    config.evaluation.size = 256  # side of the centre crop of each held-out image
    config.evaluation.batch_size = 8
    config.evaluation.num_samples = 4  # rows of the picture
    return config


def small_task(name: str, variant: str, release: dict, sigma_s: float = 0.1) -> ConfigDict:
    """A task of section 5.1.2: whole faces at 256x256; ``release``: its degradation there."""
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
    """A model that ships with the package: photographs, two CPU cores, hours; ``name``: its task.

    Flow matching in place of consistency: its loss is some hundred times larger, so that thousands
    of steps teach the flow what consistency needs hundreds of thousands for (docs/models).
    """
    config = default()
    config.num_steps = 4000
    config.batch_size = 8
    config.checkpoint_every = 250
    config.data.embedded = True
    config.data.size = 128
    config.data.workers = 0
    config.degradation.name = name
    config.estimator.hidden = 64
    config.estimator.num_blocks = 2
    config.velocity.hidden = 64
    config.objective.flow = "flow_matching"
    config.sampler.num_steps = 10
    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup_steps = 100
    config.optimizer.clip_norm = 1.0
    config.ema.ramp_steps = 500.0
    config.update(changes)
    return with_variant(config, variant)


def with_variant(config: ConfigDict, variant: str, release: dict | None = None) -> ConfigDict:
    """The configuration itself (no variant), its ``tiny`` form, or ``release``.

    ``release`` holds what the released code changes of this task. Raises ValueError for others.
    """
    if variant == "tiny":
        config.update(
            num_steps=20,
            batch_size=4,
            log_every=1,
            checkpoint_every=10,
            data={"size": 64, "embedded": True, "workers": 0, "held_out": 4},
            evaluation={"size": 128, "batch_size": 2},
            optimizer={"warmup_steps": min(config.optimizer.warmup_steps, 2)},
        )
        if config.method == "elir":
            config.update(
                autoencoder={"weights": "embedded", "width": 32},
                estimator={"hidden": 16, "num_blocks": 1},
                velocity={"hidden": 32, "num_mid_blocks": 1, "time_dim": 32},
                ema={"ramp_steps": 10.0},
            )
        else:
            config.autoencoder.width = 8
    elif variant == "release" and release is not None:
        config.update(
            objective={"target": "online", "beta": 0.001},
            optimizer={"weight_decay": 0.01},  # what torch.optim.AdamW does unasked
            ema={"ramp_steps": 2000.0},
        )
        config.update(release)
    elif variant:
        known = "tiny" if release is None else "tiny, release"
        raise ValueError(f"unknown variant {variant!r}; one of: {known}")
    return config.lock()
