"""The model ``photo`` that ships: old, small and over-compressed photographs (docs/models).

Command: python train.py --config configs/shipped_photo.py --config.data.path=PHOTOGRAPHS
Equation 10 with ranges of ordinary pictures. Without PHOTOGRAPHS, it trains on the photographs that
scikit-image ships.
"""

from configs import common


def get_config(variant: str = ""):
    ranges = {"blur": (0.1, 3.0), "scale": (1.0, 4.0), "noise": (0.0, 25.0), "quality": (30, 95)}
    return common.shipped_model(
        "blind_face_restoration",
        variant,
        degradation={"blind_face_restoration": ranges},
        sampler={"num_steps": 1},
    )
