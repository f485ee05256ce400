"""The model ``denoising`` that ships: Gaussian noise of 0.35 on photographs (docs/models).

Command: python train.py --config configs/shipped_denoising.py --config.data.path=PHOTOGRAPHS
Without PHOTOGRAPHS, it trains on the photographs that scikit-image ships.
"""

from configs import common


def get_config(variant: str = ""):
    return common.shipped_model("denoising", variant)
