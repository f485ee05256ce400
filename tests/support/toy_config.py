"""The toy method's configuration: the common fields, and a section of its own."""

from ml_collections import ConfigDict

from configs import common


def get_config():
    config = common.default()
    for section in ("autoencoder", "estimator", "velocity", "objective", "sampler"):
        del config[section]
    config.method = "toy"
    config.toy = ConfigDict({"weights": "", "kernel": 3})
    config.optimizer.groups = ConfigDict({"draft": {"learning_rate": 1e-3}})
    config.ema.ramp = "count"
    config.update(
        num_steps=6,
        batch_size=4,
        log_every=1,
        checkpoint_every=2,
        data={"size": 32, "embedded": True, "workers": 0, "held_out": 4},
        evaluation={"size": 48, "batch_size": 2, "num_samples": 1},
    )
    return config.lock()
