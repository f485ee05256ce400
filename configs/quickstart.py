"""Denoising on the photographs that scikit-image ships, with a small network.

Command: python train.py --config configs/quickstart.py
Cost: 4 minutes of training on two CPU cores. Result on the two held-out photographs: input
11.38 dB, restored 23.73 dB PSNR. The posterior mean brings nearly all of the gain. The flow, which
adds the details that the mean lacks, has a loss about a hundred times smaller and needs longer
training.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.num_steps = 500
    config.batch_size = 8
    config.log_every = 10
    config.checkpoint_every = 100
    config.data.embedded = True
    config.data.workers = 0
    config.data.size = 64
    config.estimator.hidden = 32
    config.estimator.num_blocks = 1
    config.velocity.hidden = 64
    # On small crops, contracting the kernels would cost more than the convolutions themselves.
    config.velocity.form = "plain"
    config.objective.sigma_s = 0.025
    config.optimizer.learning_rate = 1e-3
    config.ema.ramp_steps = 200.0
    return common.with_variant(config, variant)
