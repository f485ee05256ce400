"""Blind super-resolution by 4, degraded as Real-ESRGAN does; a task of the release, not the paper.

Command: python train.py --config configs/blind_super_resolution.py --config.data.path=FOLDER
Cost and result: the release names none for training; its networks are smaller (96 channels). The
release trains 50 epochs of ImageNet's 1,281,167 images on 256x256 crops, in batches of 32 on each
device (four are assumed here). The TAESD3 weights are downloaded from the Hugging Face hub unless
config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.num_steps = 500_500  # 50 epochs
    config.data.fit = "pad"  # ImageNet has images below 256 pixels
    config.degradation.name = "blind_super_resolution"
    config.autoencoder.weights = "hub:madebyollin/taesd3"
    config.autoencoder.width = 64
    config.velocity.hidden = 96
    config.objective.dt = 0.2
    config.objective.sigma_s = 0.04
    return common.with_variant(config, variant, {})
