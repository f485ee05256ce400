"""Super-resolution of faces: 8x bicubic down, noise 0.05, 8x bicubic up (section 5.1.2, Table 5).

Command: python train.py --config configs/super_resolution.py --config.data.path=FFHQ_FOLDER
Cost: the paper trained one day on four A100. Result (Table 2, CelebA-Test at 256x256): PSNR
23.87 dB, SSIM 0.6579, LPIPS 0.3256. FFHQ's 70,000 images are resized to 256x256; the TAESD3 weights
are downloaded from the Hugging Face hub unless config.autoencoder.weights names a file.
"""

from configs import common


def get_config(variant: str = ""):
    release = {"sigma": 12.8 / 255, "up": "nearest", "eight_bit": True}
    return common.small_task("super_resolution", variant, release)
