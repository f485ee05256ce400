"""Inpainting of faces: 90 % of the pixels masked, noise 0.1 (section 5.1.2, Table 5).

Command: python train.py --config configs/inpainting.py --config.data.path=FFHQ_FOLDER
Cost: the paper trained one day on four A100. Result (Table 2, CelebA-Test at 256x256): PSNR
25.40 dB, SSIM 0.7302, LPIPS 0.2779. FFHQ's 70,000 images are resized to 256x256; the TAESD3 weights
are downloaded from the Hugging Face hub unless config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    release = {"sigma": 25.6 / 255, "eight_bit": True}
    return common.small_task("inpainting", variant, release)
