"""PMRF's method beside the public code: loss, gradients, ten AdamW steps, the average, Euler."""

import numpy as np
import pmrf_golden as golden
import pytest
import reference
from safetensors.numpy import load_file

from elir_jax.parity.pmrf import method_of, restoration_rows, train, training_rows


def check(rows, *expected):
    """All pass, and these stages are among them."""
    assert not [row for row in rows if not row.passed]
    assert set(expected) <= {row.stage for row in rows}


@pytest.fixture(scope="module")
def small():
    """(method, recorded arrays, inputs) that this project recorded with the public code."""
    method = method_of(golden.tensors("hdit"), golden.tensors("swinir"))
    with np.load(golden.TRAINING) as file:
        return method, dict(file), golden.training_inputs()


TENSOR = "mid_level.0.ff.up_proj.weight"


def test_loss_gradients_updates_and_average_are_the_public_codes(small):
    method, recorded, inputs = small
    found = train(method, *inputs)
    rows = training_rows(method, recorded, found)
    kinds = ("gradient norm", "moved, norm", "moved, probes", "EMA - parameters, norm")
    check(rows, "loss", "losses of the updates", *(f"{kind} {TENSOR}" for kind in kinds))
    swapped = dict(recorded)
    swapped["gap/" + TENSOR] = recorded["gap/" + TENSOR] * 1.002
    swapped["movedprobe/" + TENSOR] = recorded["movedprobe/" + TENSOR][::-1]
    failed = {row.stage for row in training_rows(method, swapped, found) if not row.passed}
    assert failed == {f"EMA - parameters, norm {TENSOR}", f"moved, probes {TENSOR}"}


def test_the_restoration_is_the_public_codes(small):
    method, recorded, (_, y, _, eps) = small
    rows, _ = restoration_rows(method, recorded, y[0], eps[0])
    check(rows, "posterior mean", f"Euler state z{golden.STEPS}", "restored")
    moved = recorded | {"z2": recorded["z2"] + np.float32(1e-3)}
    rows, _ = restoration_rows(method, moved, y[0], eps[0])
    assert [row.stage for row in rows if not row.passed] == ["Euler state z2"]


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


@pytest.mark.slow
def test_another_recordings_states_agree(other):
    method, arrays = other
    recorded = golden.under(arrays, "euler/") | {"mean": arrays["pmrf/mean"]}
    rows, _ = restoration_rows(method, recorded, arrays["pmrf/y"], arrays["pmrf/eps"])
    check(rows, "posterior mean", "Euler state z1")


@pytest.mark.slow
def test_another_recordings_loss_and_ten_updates_agree(other):
    method, arrays = other
    recorded = golden.under(arrays, "traj/")
    recorded["losses"] = recorded["loss"]
    found = train(method, *(recorded[name] for name in ("x", "y", "u", "eps")))
    rows = training_rows(method, recorded, found)
    check(rows, "loss", "losses of the updates")
    one = (arrays[f"pmrf/{name}"][None] for name in ("x", "y", "u", "eps"))
    np.testing.assert_allclose(train(method, *one).losses[0], arrays["pmrf/loss"][0], rtol=1e-5)
