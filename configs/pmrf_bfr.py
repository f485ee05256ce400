"""PMRF for blind face restoration at 512x512, as the paper trains it. docs/pmrf.md has more.

Command: python train.py --config configs/pmrf_bfr.py --config.data.path=FFHQ_512_FOLDER
Cost: the paper's 1,051,050 updates of 256 faces ran on 16 GPUs. The posterior mean is DifFace's
SwinIR: put its swinir_restoration512_L1.pth (release V1.0 of zsyOAOA/DifFace) where you start the
command, or name a file or a run's folder with config.estimator.weights.
"""

from configs import pmrf


def get_config(variant: str = ""):
    return pmrf.get_config(variant or "bfr")
