"""PMRF's method beside the public code: loss, gradients, ten AdamW steps, the average, Euler."""

import jax
import jax.numpy as jnp
import numpy as np
import pmrf_golden as golden
import pytest
import reference
from pmrf_training import loss_of, method_of, restore, train
from safetensors.numpy import load_file

from elir_jax.parity.probes import CERTAIN

ROUNDING = 4e-7  # of a parameter's norm: ten updates of it in float32


@pytest.fixture(scope="module")
def small():
    """(method, recorded arrays, inputs) that this project recorded with the public code."""
    method = method_of(golden.tensors("hdit"), golden.tensors("swinir"))
    with np.load(golden.TRAINING) as file:
        return method, dict(file), golden.training_inputs()


@pytest.fixture(scope="module")
def trained(small):
    method, _, inputs = small
    return train(method, *inputs)


def close(ours, theirs, of_largest):
    return np.abs(ours - theirs).max() <= of_largest * np.abs(theirs).max()


def check_norm(tensor, norm, rounding=0.0):
    norm = float(np.ravel(norm)[0])
    assert abs(np.linalg.norm(np.float64(tensor)) - norm) <= 1e-3 * norm + rounding


def check_training(method, trained, theirs_losses, recorded):
    """Losses 1e-3; what each tensor moved and its average's distance from it, 1e-3 of the norm."""
    np.testing.assert_allclose(trained.losses, theirs_losses, rtol=1e-3)
    norms = golden.under(recorded, "norm/")
    assert norms
    for what, change in changes_of(method, trained).items():
        found = golden.under(recorded, f"{what}/")
        assert found.keys() == norms.keys()
        for name, norm in found.items():
            check_norm(change[name], norm, ROUNDING * float(np.ravel(norms[name])[0]))


def changes_of(method, trained):
    """What each tensor moved, and how far its average is from it."""
    start = method.named(method.params["velocity"])
    pairs = {"moved": (trained.end, start), "gap": (trained.average, trained.end)}
    return {
        what: {name: np.float64(to[name]) - since[name] for name in start}
        for what, (to, since) in pairs.items()
    }


def test_loss_and_gradients_are_the_public_codes(small, trained):
    _, recorded, _ = small
    np.testing.assert_allclose(trained.losses[0], recorded["losses"][0], rtol=1e-5)
    norms = golden.under(recorded, "gradnorm/")
    assert norms.keys() == golden.under(recorded, "norm/").keys()
    for name, norm in norms.items():
        check_norm(trained.gradients[name], norm)


def test_ten_updates_and_their_average_are_the_public_codes(small, trained):
    method, recorded, _ = small
    check_training(method, trained, recorded["losses"], recorded)


def test_each_entry_of_the_updates_is_the_public_codes(small, trained):
    """By sums of random signs, which entries that change places would change."""
    method, recorded, _ = small
    for what, change in changes_of(method, trained).items():
        for name, sums in golden.under(recorded, f"{what}probe/").items():
            allowed = 1e-3 * float(recorded[f"{what}/{name}"])
            allowed += ROUNDING * float(recorded[f"norm/{name}"])
            error = np.abs(golden.probes(name, change[name]) - sums).max()
            assert error <= CERTAIN * allowed, name


def test_the_restoration_is_the_public_codes(small):
    method, recorded, (_, y, _, eps) = small
    mean, states = restore(method, y[0], eps[0])
    assert close(mean, recorded["mean"], 2e-5)
    assert len(states) == golden.STEPS + 1
    for k, state in enumerate(states):
        assert close(state, recorded[f"z{k}"], 2e-5), k
    assert close(np.clip(states[-1], 0, 1), recorded["restored"], 2e-5)


# The same with arrays that somebody else recorded -----------------------------------------------


@pytest.fixture(scope="module")
def other():
    folder = reference.SHARED / "reference"
    arrays, weights = folder / "pmrf_golden.npz", folder / "pmrf_weights.safetensors"
    for path in (arrays, weights):
        if not path.is_file():
            pytest.skip(f"golden files of the public code are absent ({path.name})")
    tensors = load_file(weights)
    hdit, swinir = (golden.under(tensors, f"{part}.") for part in ("hdit", "swinir"))
    with np.load(arrays) as file:
        return method_of(hdit, swinir), dict(file)


def test_another_recordings_loss_and_states_agree(other):
    method, arrays = other
    rows = (jnp.asarray(arrays[f"pmrf/{name}"]) for name in ("x", "y", "u", "eps"))
    loss = jax.jit(lambda params, *rows: loss_of(method, params, *rows))(method.params, *rows)
    np.testing.assert_allclose(loss, arrays["pmrf/loss"][0], rtol=1e-5)
    mean, states = restore(method, arrays["pmrf/y"], arrays["pmrf/eps"])
    assert close(mean, arrays["pmrf/mean"], 2e-5)
    for k, state in enumerate(states):
        assert close(state, arrays[f"euler/z{k}"], 2e-5), k


def test_another_recordings_ten_updates_agree(other):
    method, arrays = other
    recorded = golden.under(arrays, "traj/")
    found = train(method, *(recorded[name] for name in ("x", "y", "u", "eps")))
    check_training(method, found, recorded["loss"], recorded)
