"""One step instead of many: a student of ELIR's own flow (DirectFlow). docs/directflow.md.

Command: python train.py --config configs/directflow.py --config.data.path=FFHQ_512_FOLDER
The teacher is the run of configs/bfr.py, found where that command leaves it, with the sizes, task
and source noise that the configuration repeats here; else config.teacher.weights names another.

denoising distils the model ``denoising`` that ships. tiny is a short one of it, on the photographs
that scikit-image ships. pmrf and latent_pmrf distil the runs of configs/pmrf_bfr.py and
configs/latent_pmrf_bfr.py.

AdamW, cosine, weight decay and average are the paper's. It prints a rate of 2e-5 for stage A and
none for stage B; 1e-4 is ours, for both. The band of SGCL is stage B's (stage A: 0.05 to 0.25).
"""

from ml_collections import ConfigDict

from configs import bfr, latent_pmrf_bfr, pmrf_bfr, shipped_denoising

TEACHERS = {
    "": (bfr, "runs/bfr"),
    "denoising": (shipped_denoising, "denoising"),
    "tiny": (shipped_denoising, "denoising"),
    "pmrf": (pmrf_bfr, "runs/pmrf_bfr"),
    "latent_pmrf": (latent_pmrf_bfr, "runs/latent_pmrf_bfr"),
}
UNET = ("*/block?/conv", "final/conv", "*/time")
TRANSFORMER = ("*/attention/*", "*/feed_forward/*")


def get_config(variant: str = ""):
    if variant not in TEACHERS:
        raise ValueError(f"unknown variant {variant!r}; one of: {', '.join([*TEACHERS][1:])}")
    base, weights = TEACHERS[variant]
    config = base.get_config().unlock()
    for section in ("estimator", "velocity"):
        del config[section].weights
    if config.method == "elir":
        for section in ("estimator", "velocity"):
            if "form" in config[section]:
                del config[section].form
        del config.autoencoder.trainable_encoder, config.autoencoder.linear, config.encoder
    config.teacher = ConfigDict()
    config.teacher.weights = weights  # a run, or a model
    config.teacher.method = config.method  # elir | pmrf | latent_pmrf
    config.teacher.num_steps = 25  # M
    config.teacher.sigma_s = config.objective.sigma_s
    config.teacher.bridge = "latent"  # latent | pixel: its end is decoded, clipped and encoded
    config.student = _student(UNET if config.method == "elir" else TRANSFORMER)
    config.objective = _objective()
    config.sampler = ConfigDict({"num_steps": 1, "noise": True})
    config.method = "directflow"
    config.optimizer.learning_rate = 1e-4  # ours; the paper prints 2e-5, for stage A alone
    config.optimizer.weight_decay = 5e-5
    config.optimizer.schedule = "cosine"
    if variant in ("denoising", "tiny"):
        config.num_steps = 1000
        config.batch_size = 8
        config.dtype = "float32"
        config.data.update(size=64, degrade_on="host", workers=0)
        config.teacher.num_steps = 10
        config.objective.sgcl = 0.0  # it softens: docs/directflow.md
        config.optimizer.update(learning_rate=1e-3, warmup_steps=50)
        config.ema.update(decay=0.99, ramp_steps=0.0)
    if variant == "tiny":
        config.update(num_steps=20, batch_size=4, log_every=1, checkpoint_every=10)
        config.data.held_out = 4
        config.evaluation.update(size=128, batch_size=2)
        config.optimizer.warmup_steps = 2
    return config.lock()


def _student(targets: tuple[str, ...]) -> ConfigDict:
    """Where it starts, what it sees and what is trained of it."""
    student = ConfigDict()
    # What is trained beside the adapter; a: the spatial encoder | b: LoRA | full: a whole velocity
    student.stage = "b"
    student.weights = ""  # for b: the run of stage a, whose adapter and control it takes
    student.input = "mmse"  # mmse: from the posterior mean | lq: from the degraded latent
    student.share_noise = True  # start with the teacher's source noise
    student.adapter = "none"  # zero | scalar (learns nothing) | none: the token
    student.control = False  # the spatial encoder
    student.rank = 32  # of LoRA
    student.alpha = 32.0
    student.targets = targets  # patterns of the modules with LoRA
    return student


def _objective() -> ConfigDict:
    """The loss: weights of its terms, of which 0 leaves one out, and how SGCL asks the teacher."""
    objective = ConfigDict()
    objective.latent = 1.0
    objective.l1 = 1.0
    objective.perceptual = 1.0
    objective.sgcl = 0.1
    objective.band = (0.05, 0.2)
    objective.sgcl_probability = 0.25
    objective.sgcl_source = "start"  # start | fresh | noise
    objective.sgcl_space = "latent"  # latent | pixel
    objective.pixel_target = "teacher"  # teacher | hq
    return objective
