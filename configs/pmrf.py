"""PMRF, posterior-mean rectified flow in pixels (Ohayon et al., 2025), at 256x256. docs/pmrf.md.

Command: python train.py --config configs/pmrf.py:TASK --config.data.path=FFHQ_FOLDER
TASK is denoising (the same without a name), super_resolution, inpainting or colorization. The
posterior mean comes first: train.py with configs/posterior_mean.py:TASK. Its run's folder is found
where that command leaves it; else name it, or a file, with config.estimator.weights.

tiny is a small one for denoising, on the photographs that scikit-image ships, after
configs/posterior_mean.py:tiny: six minutes of CPU time; posterior_mean 21.46 dB PSNR, restored
20.85 dB. So short a training leaves most of the source's noise in.
"""

from ml_collections import ConfigDict

from configs import posterior_mean


def get_config(variant: str = ""):
    config = posterior_mean.begin("pmrf", variant)
    folder = f"posterior_mean-{variant}" if variant else "posterior_mean"
    config.estimator.weights = f"runs/{folder}"
    config.velocity = ConfigDict()  # HDiT; hdit_XL2 of PMRF
    config.velocity.weights = ""
    config.velocity.widths = (384, 768)  # channels of each level
    config.velocity.depths = (2, 11)  # blocks of each level, counted on one side
    config.velocity.kernels = (7, 0)  # side of each level's neighbourhood; 0: all tokens
    config.velocity.head_dim = 64
    config.velocity.patch = 4  # pixels a side of a token
    config.velocity.mapping_width = 768
    config.velocity.mapping_depth = 2
    config.objective = ConfigDict()
    config.objective.source = "mean"  # mean | degraded | noise: where the flow starts
    config.objective.condition = "none"  # none | degraded | mean: what the velocity sees besides
    config.objective.sigma_s = 0.1  # source noise, standard deviation in [0, 1] pixels
    config.objective.time = "stratified"  # stratified | uniform | logit_normal
    config.objective.grid = 0  # times are multiples of 1 / grid; 0: any (Latent-PMRF's code: 1000)
    config.sampler = ConfigDict()
    config.sampler.num_steps = 100  # K; the paper has 5, 10, 20, 50 and 100
    config.sampler.noise = True
    if config.degradation.name == "denoising":
        config.objective.sigma_s = 0.025
    if variant == "bfr":
        config.num_steps = 1_051_050  # 3850 epochs
        config.estimator.weights = "swinir_restoration512_L1.pth"
        config.velocity.widths = (256, 512, 1024)  # hdit_ImageNet256Sp4
        config.velocity.depths = (2, 2, 8)
        config.velocity.kernels = (7, 7, 0)
        config.sampler.num_steps = 25
    if variant == "tiny":
        config.num_steps = 500
        config.velocity.update(widths=(128, 256), depths=(2, 2), mapping_width=128, mapping_depth=1)
        config.sampler.num_steps = 5
    return config.lock()
