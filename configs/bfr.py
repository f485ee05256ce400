"""Blind face restoration at the paper's full size (section 5.1.1, Table 5).

Command: python train.py --config configs/bfr.py --config.data.path=FFHQ_512_FOLDER
Cost: the paper trained 2.5 days on four H100. Result (Table 1, CelebA-Test): PSNR 25.55 dB, SSIM
0.6933. The folder holds FFHQ's 70,000 images at 512x512; the TAESD3 weights are downloaded from the
Hugging Face hub unless config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.num_steps = 437_500  # 400 epochs of 70,000 images in batches of 64
    config.batch_size = 64
    config.data.size = 512
    config.degradation.name = "blind_face_restoration"
    config.autoencoder.weights = "hub:madebyollin/taesd3"
    config.autoencoder.width = 64
    config.velocity.num_mid_blocks = 3
    config.objective.num_segments = 5
    config.optimizer.learning_rate = 1e-4
    config.evaluation.size = 512
    return common.with_variant(config, variant)
