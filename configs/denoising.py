"""Denoising of faces: Gaussian noise of 0.35 (section 5.1.2, Table 5).

Command: python train.py --config configs/denoising.py --config.data.path=FFHQ_FOLDER
Cost: the paper trained one day on four A100. Result (Table 2, CelebA-Test at 256x256): PSNR
27.13 dB, SSIM 0.7737, LPIPS 0.2537. FFHQ's 70,000 images are resized to 256x256; the TAESD3 weights
are downloaded from the Hugging Face hub unless config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    release = {"sigma": 89.6 / 255, "eight_bit": True}
    return common.small_task("denoising", variant, release, sigma_s=0.025)
