"""Small runs of methods that build on each other."""

import time
from types import ModuleType

from ml_collections import ConfigDict

import train
from elir_jax.commands.frame import Options

SMALL = {
    "batch_size": 4,
    "log_every": 1,
    "checkpoint_every": 2,
    "evaluation": {"size": 64, "num_samples": 1},
}


def small(config: ModuleType, variant: str = "tiny", **changes) -> ConfigDict:
    """A tiny configuration, smaller still."""
    found = config.get_config(variant).unlock()
    found.update(SMALL | changes)
    return found.lock()


def run(config: ConfigDict, workdir) -> int:
    """Train as the command does."""
    options = Options(time.monotonic(), first=True, alone=True, allow_config_change=False)
    return train.main(config, workdir, options)
