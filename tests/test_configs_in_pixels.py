"""The configurations of PMRF and of its posterior mean are its paper's, and mistakes are named."""

import jax
import pytest
from loading import count, load

from elir_jax import compose
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.errors import UserError
from elir_jax.methods.method import untrained

PMRFS = {"b1": 0.9, "b2": 0.95, "eps": 1e-8, "weight_decay": 0.01, "learning_rate": 5e-4}
SOURCE_NOISE = {"denoising": 0.025, "super_resolution": 0.1, "inpainting": 0.1, "colorization": 0.1}


@pytest.mark.parametrize("task", [*SOURCE_NOISE, "bfr"])
def test_pmrf_trains_as_its_paper_does(task):
    config, mean = load("pmrf", task), load("posterior_mean", task)
    bfr = task == "bfr"
    assert load("pmrf_bfr") == config or not bfr
    assert config.objective.to_dict() == {
        "source": "mean", "condition": "none", "sigma_s": SOURCE_NOISE.get(task, 0.1),
        "time": "stratified", "grid": 0,
    }  # fmt: skip
    assert (config.batch_size, config.data.size) == (256, 512 if bfr else 256)
    assert config.num_steps == (3850 if bfr else 1000) * 273
    assert config.ema.to_dict() == {"decay": 0.9999, "ramp": "count", "ramp_steps": 0.0}
    for found in (config, mean):
        assert found.degradation.name == ("difface" if bfr else task)
        if not bfr or found is config:
            assert {name: found.optimizer[name] for name in PMRFS} == PMRFS
            assert found.optimizer.schedule == "constant" and not found.optimizer.clip_norm
    assert config.estimator.to_dict() | {"weights": ""} == mean.estimator.to_dict()
    loss = {"loss": "l1", "clip": False} if bfr else {"loss": "mse", "clip": True}
    assert mean.objective.to_dict() == loss
    assert mean.degradation.super_resolution.up == "nearest"
    estimator = compose.METHODS["posterior_mean"](mean)
    counts = jax.eval_shape(lambda: estimator.init(jax.random.key(0), untrained)[0])
    assert count(counts) == (15_792_587 if bfr else 4_741_007)


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("pmrf", {"data": {"size": 96}}, ["data.size=96", "multiple of 64"]),
        ("posterior_mean", {"data": {"size": 72}}, ["data.size=72", "multiple of 64"]),
        ("pmrf", {"velocity": {"kernels": (31, 0)}}, ["data.size=64", "at least 124"]),
        ("pmrf", {"velocity": {"widths": (100, 256)}}, ["cannot be built", "multiples of 64"]),
        ("pmrf", {"objective": {"condition": "degraded"}}, ["objective", "one picture"]),
        ("pmrf", {"objective": {"time": "daily"}}, ["objective", "stratified"]),
        (
            "pmrf",
            {
                "objective": {"source": "noise", "condition": "mean"},
                "sampler": {"noise": False},
            },
            ["sampler.noise=False", "starts at noise"],
        ),
        ("posterior_mean", {"objective": {"loss": "huber"}}, ["objective", "mse", "l1"]),
        ("posterior_mean", {"estimator": {"heads": 5}}, ["cannot be built", "5 heads"]),
    ],
)
def test_mistakes_of_methods_in_pixels_are_named(name, changes, words):
    config = load(name, "tiny")
    with config.unlocked():
        config.update(changes)
    with pytest.raises(UserError) as error:
        compose.build(config).state_like()
    assert all(word in str(error.value) for word in words), error.value


def test_a_flow_without_its_posterior_mean_says_where_to_name_it():
    config = load("pmrf", "tiny")
    with config.unlocked():
        config.estimator.weights = "runs/nothing"
    with pytest.raises(UserError, match="--config.estimator.weights=runs/nothing: .*no such"):
        compose.METHODS["pmrf"](config).init(jax.random.key(0), starting_weights(config))
