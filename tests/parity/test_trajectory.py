"""The rows of a training trajectory fail where training goes another way."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.parity.arrays import Recording
from elir_jax.parity.probes import probes
from elir_jax.parity.trajectory import update_rows, whole_rows
from elir_jax.training.optim import Ema

RNG = np.random.default_rng(0)
# 3x3 kernels whose two middle axes may be confused, and a bias; as the release names them.
SHAPES = {"fmir.a.weight": (6, 6, 3, 3), "mmse.b.weight": (40, 40, 3, 3), "enc.c.bias": (64,)}
RATE, DECAY, UPDATES = 1e-4, 1.0, 10


def normal(scale):
    return {n: np.float32(scale * RNG.standard_normal(shape)) for n, shape in SHAPES.items()}


START, PULLS = normal(0.05), [normal(RATE) for _ in range(UPDATES)]


def train(decay=DECAY, updates_before=5000, averaging=True):
    """(parameters, average) after ten updates, each a pull and the decay towards 0."""
    params, ema = START, START
    rule = Ema(0.999, ramp_steps=2000.0)
    for number, pull in enumerate(PULLS, start=updates_before + 1):
        params = {n: params[n] - np.float32(RATE * decay) * params[n] + pull[n] for n in params}
        ema = rule.update(ema, params, jnp.int32(number)) if averaging else params
    return exact(params), exact(ema)


def exact(tree):
    return {name: np.asarray(value, np.float64) for name, value in tree.items()}


def recorded(**of_each):
    """A recording of values that follow from (name, parameters, average)."""
    params, ema = train(updates_before=of_each.pop("before"))
    arrays = {"config": np.array(json.dumps({}))}
    for key, value in of_each.items():
        for n in SHAPES:
            arrays[f"{key}_flat/{n}"] = np.asarray(value(n, params[n], ema[n]))
    return Recording(arrays, "flat")


PROBED = recorded(
    before=5000,
    trajprobe=lambda name, p, e: probes(name, p - START[name]),
    emaprobe=lambda name, p, e: probes(name, e - p),
)
WHOLE = recorded(
    before=0,
    traj_norm=lambda name, p, e: np.linalg.norm(p),
    traj_sum=lambda name, p, e: p.sum(),
    ema_norm=lambda name, p, e: np.linalg.norm(e),
    ema_sum=lambda name, p, e: e.sum(),
)


def failing(params, ema):
    rows = update_rows(PROBED, exact(START), params, ema, UPDATES)
    assert len(rows) == 2 * len(SHAPES)
    return {row.stage for row in rows if not row.passed}


def stages(label):
    return {f"{label} {name}" for name in SHAPES}


def test_the_same_training_passes():
    assert not failing(*train())


def test_an_average_that_is_no_average_fails_for_every_tensor():
    assert failing(*train(averaging=False)) == stages("EMA - moved")
    # In older recordings the ramp has only begun, and the sums alone speak.
    end, average = train(updates_before=0)
    assert all(row.passed for row in whole_rows(WHOLE, end, average))
    rows = whole_rows(WHOLE, end, end)
    assert {row.stage for row in rows if not row.passed} == stages("EMA - after, sum")


def test_a_weight_decay_that_is_left_out_or_is_another_fails_for_every_tensor():
    for decay in (0.0, 0.5 * DECAY):
        assert stages("moved") <= failing(*train(decay=decay))


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if len(shape) == 4])
def test_axes_that_change_places_fail_though_norm_and_sum_stay(name):
    end, average = train()
    for tree in (end, average):
        tree[name] = START[name] + (tree[name] - START[name]).swapaxes(0, 1)
    assert failing(end, average) == {f"moved {name}", f"EMA - moved {name}"}


def test_probes_have_the_norm_of_what_they_probe():
    x = np.random.default_rng(1).standard_normal(50)
    squares = [probes(str(i), x) ** 2 for i in range(400)]
    np.testing.assert_allclose(np.mean(squares), np.sum(x**2), rtol=0.15)
    assert not np.array_equal(probes("a", x), probes("b", x))
    np.testing.assert_array_equal(probes("a", x), probes("a", x.reshape(5, 10)))
