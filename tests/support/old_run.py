"""A run's folder as commit e2d8463 wrote it, before methods were lists of parts.

The networks are the least that ELIR has, their numbers few, so that the file is small. The folder
holds the checkpoint of step 5 and ``expected.json``: the metrics of steps 6 and 7 and the figures
of the averaged weights, as that commit's code gave them on one device.
"""

import zipfile
from pathlib import Path

from test_configs import load

FILE = Path(__file__).resolve().parents[1] / "golden" / "checkpoint.zip"
STEP = 5


def old_run(folder: Path) -> Path:
    """Unpack the run's folder; returns it."""
    with zipfile.ZipFile(FILE) as packed:
        packed.extractall(folder)
    return folder


def old_config():
    """The configuration that made it, as it is written today."""
    config = load("quickstart", "tiny")
    config.update(
        num_steps=7,
        autoencoder={"weights": "untrained", "width": 4, "latent_channels": 4},
        estimator={"hidden": 4, "num_blocks": 1, "form": "plain"},
        velocity={
            "hidden": 32, "channel_multipliers": (1,), "num_mid_blocks": 0, "time_dim": 4,
            "form": "plain",
        },
        objective={"num_segments": 2},
        data={"size": 32},
        evaluation={"size": 32, "batch_size": 2},
    )  # fmt: skip
    return config
