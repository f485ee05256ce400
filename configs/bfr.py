"""Blind face restoration at the paper's full size (section 5.1.1, Table 5).

Command: python train.py --config configs/bfr.py --config.data.path=FFHQ_512_FOLDER
Cost: the paper trained 2.5 days on four H100. Result (Table 1, CelebA-Test): PSNR 25.55 dB, SSIM
0.6933. The folder (or dataset of python -m elir_jax.data.prepare ffhq) holds FFHQ's 70,000 images
at 512x512; --config.data.eval_path names CelebA-Test's hq/ and lq/. The TAESD3 weights are
downloaded from the Hugging Face hub unless config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    config = common.default()
    config.num_steps = 437_500  # 400 epochs of 70,000 images in batches of 64
    config.batch_size = 64
    config.data.size = 512
    config.data.fit = "resize"
    config.degradation.name = "blind_face_restoration"
    config.autoencoder.weights = "hub:madebyollin/taesd3"
    config.autoencoder.width = 64
    config.velocity.num_mid_blocks = 3
    config.objective.num_segments = 5
    config.optimizer.learning_rate = 1e-4
    config.evaluation.size = 512
    release = {
        "blur": (0.1, 15.0),
        "share": (1 / 32, 1.2),  # of the side, instead of a factor
        "noise": (0.0, 20.0),
        "eight_bit": True,
    }
    changes = {"degradation": {"blind_face_restoration": release}}
    return common.with_variant(config, variant, changes)
