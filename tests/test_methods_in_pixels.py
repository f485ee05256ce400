"""posterior_mean, then pmrf on its run: trained, killed and resumed, on any devices, any size."""

import functools

import chaining
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chaining import run
from killing import killed_at, saved
from measured import figures_of
from rounding import first_moments, norm_of_difference, reordered

from configs import pmrf, posterior_mean
from elir_jax import compose
from elir_jax.devices.mesh import parallel_step, replicate
from elir_jax.restorer import Restorer
from elir_jax.running.records.checkpoint import read_newest
from elir_jax.training.step import StepRequest

ESTIMATOR = {"width": 12, "depths": (2,), "features": 4}
FLOW = {"widths": (16, 32), "depths": (1, 1), "head_dim": 16, "mapping_width": 16}


def small(method, **changes):
    """The tiny configuration, smaller still."""
    config = {"posterior_mean": posterior_mean, "pmrf": pmrf}[method]
    return chaining.small(config, **({"estimator": ESTIMATOR} | changes))


@pytest.fixture(scope="module")
def mean(unlocked, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("posterior_mean")
    assert run(small("posterior_mean", num_steps=2), workdir) == 0
    return workdir


@pytest.fixture(scope="module")
def config(mean):
    return small(
        "pmrf",
        num_steps=5,
        estimator=ESTIMATOR | {"weights": str(mean)},
        velocity=FLOW,
        sampler={"num_steps": 2},
    )


@pytest.fixture(scope="module")
def flow(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("pmrf")
    assert run(config, workdir) == 0
    return workdir


@pytest.mark.slow
def test_every_stage_is_in_the_table(mean, flow):
    assert list(figures_of(mean)) == ["input", "restored"]
    stages = figures_of(flow)
    names = ["input", "posterior_mean", "source", "step_1", "step_2", "restored"]
    assert list(stages) == names and stages["step_2"] == stages["restored"]
    np.testing.assert_allclose(
        stages["posterior_mean"]["psnr"], figures_of(mean)["restored"]["psnr"], rtol=1e-5
    )


@pytest.mark.slow
def test_the_mean_is_frozen_as_its_run_averaged_it(mean, flow):
    averaged = read_newest(mean / "checkpoints").tree["ema"]["estimator"]
    found = read_newest(flow / "checkpoints").tree
    assert jax.tree.all(jax.tree.map(np.array_equal, averaged, found["frozen"]["estimator"]))
    assert found["ema"].keys() == {"velocity"}
    assert found["frozen"].keys() == {"estimator", "constants"}


@pytest.mark.slow
def test_killed_and_started_again_it_ends_in_the_same_state(config, flow, tmp_path):
    with killed_at(5):
        run(config, tmp_path)
    assert saved(tmp_path)[0] == 4
    assert run(config, tmp_path) == 0
    assert saved(tmp_path) == saved(flow)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["posterior_mean", "pmrf"])
def test_four_devices_do_what_one_does(method, config, tmp_path):
    """By the first step's gradients: strata, noise and drop path follow the samples."""
    chosen = config if method == "pmrf" else small("posterior_mean")
    built = compose.build(chosen)
    _, step = compose.build_step(chosen, compose.METHODS[method](chosen))
    state, batch = jax.device_get(built.init_state(tmp_path)), next(built.data())
    assert jax.local_device_count() == 4
    four, metrics, _ = parallel_step(step)(replicate(state), batch, StepRequest(0))

    @jax.jit
    def one(state, batch):
        pieces = jax.tree.map(lambda a: jnp.asarray(a)[None], (batch, StepRequest(0, 0.0, 0.0)))
        over_one = functools.partial(step, axis_name="one")
        return jax.vmap(over_one, (None, 0, 0), None, axis_name="one", axis_size=1)(state, *pieces)

    alone, expected, _ = one(jax.tree.map(jnp.asarray, state), batch)
    error = reordered(np.size(batch.x_hq))
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=error)
    moments = map(first_moments, (four, alone))
    # The first moment is a tenth of the gradient.
    assert norm_of_difference(*moments) <= error * 0.1 * float(expected["grad_norm"])


@pytest.mark.slow
def test_pictures_of_any_size_restore_alone_as_among_others(flow):
    """In windows of 64 that blend; larger ones, smaller ones, and odd sides."""
    restorer = Restorer.load(flow)
    rng = np.random.default_rng(0)
    for height, width in ((64, 64), (100, 67), (20, 31)):
        x, other = rng.random((2, height, width, 3), np.float32)
        (together, _), (alone,) = restorer.stages([x, other], 0), restorer.stages([x], 0, batch=2)
        assert together[0].shape == x.shape and np.isfinite(together[0]).all()
        np.testing.assert_allclose(together[0], alone[0], atol=1e-5)
