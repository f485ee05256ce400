"""What the composition root does with a workdir's converted weights."""

import hashlib

import jax
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from PIL import Image
from test_configs import load

from elir_jax import compose
from elir_jax.compose.data import build_data
from elir_jax.devices import hosts
from elir_jax.errors import UserError
from elir_jax.metrics.frechet import describe, frechet_distance
from elir_jax.metrics.perceptual import Fid, Perceptual
from elir_jax.networks.layers import collapse
from elir_jax.networks.winograd import transform_kernels
from elir_jax.types import Batch
from elir_jax.weights.own import read_weights, write_weights


@pytest.fixture(scope="module")
def run():
    return compose.build(load("quickstart", "tiny"))


@pytest.fixture(scope="module")
def weights(run):
    """Every parameter 0.01 off the run's own start."""
    state = run.state_like()
    shapes = {"decoder": state.frozen["decoder"]} | state.params
    return jax.tree.map(lambda leaf: np.full(leaf.shape, 0.01, np.float32), shapes)


def same(ours, theirs):
    return jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


@pytest.mark.slow
def test_training_starts_from_converted_weights(run, weights, tmp_path):
    write_weights(tmp_path, weights)
    state = run.init_state(tmp_path)
    assert same(state.params, {name: weights[name] for name in state.params})
    assert same(state.ema, state.params) and int(state.step) == 0
    assert same(state.frozen["decoder"], weights["decoder"])
    # What z_hq is made with stays the pretrained one.
    assert not same(state.frozen["encoder"], weights["encoder"])


def test_evaluation_takes_collapsed_weights_of_any_form(weights, tmp_path):
    write_weights(tmp_path, collapse(weights))
    method = compose.build_method(load("quickstart", "tiny"))
    params, _ = compose.for_inference(method, read_weights(tmp_path), tmp_path)
    wanted = collapse(weights["velocity"])
    assert same(params["velocity"], transform_kernels(wanted))  # what this machine restores with


def test_weights_of_another_network_are_named(run, weights, tmp_path):
    changed = {**weights, "estimator": {"rrdb7": np.zeros(3, np.float32)}}
    write_weights(tmp_path, changed)
    with pytest.raises(UserError, match=r"missing: estimator.*unknown: estimator/rrdb7"):
        run.init_state(tmp_path)


def test_the_training_images_are_told_by_a_digest_of_their_names(tmp_path, monkeypatch):
    names = ["b.png", "größe/a.png", "c.png"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (128, 128)).save(tmp_path / "in" / name)
    config = load("quickstart", "tiny")
    with config.unlocked():
        config.data.path = config.data.eval_path = str(tmp_path / "in")
    text = "\n".join(f"/{name}" for name in ["b.png", "c.png", "größe/a.png"])
    wanted = {"images": 3, "names": hashlib.sha256(text.encode()).hexdigest()[:16]}
    assert build_data(config).fingerprint() == wanted
    for place, written in ((tmp_path / "in", "."), (tmp_path, "in"), (tmp_path, "./x/../in/")):
        monkeypatch.chdir(place)
        config.data.path = written
        assert build_data(config).fingerprint() == wanted, written


def test_fid_is_taken_over_the_features_of_all_hosts(tmp_path, monkeypatch):
    """What another host has is played; :mod:`test_gather` has how it comes here."""
    rng = np.random.default_rng(0)
    here, there = [], rng.standard_normal((5, 3)).astype(np.float32)

    def features(folder):
        here.append(rng.standard_normal((len(list(folder.iterdir())), 3)).astype(np.float32))
        return here[-1]

    def gather_rows(rows):
        return rows if rows.shape == (1, 1) else np.concatenate([rows, there])

    monkeypatch.setattr(hosts, "gather_rows", gather_rows)
    run = compose.build(load("autoencoder", "tiny"))
    state = run.init_state(tmp_path)
    reference = describe(there)
    measured = run.evaluate(state.ema, state.frozen, Perceptual({}, Fid(features, reference)))
    wanted = frechet_distance(describe(np.concatenate([*here, there])), reference)
    assert measured.figures["restored"]["fid"] == pytest.approx(wanted) and here


def precisions(jaxpr):
    """The precision of every product of a program, the inner ones included."""
    found = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found |= {one.name for one in equation.params["precision"]}
        for inner in jaxprs_in_params(equation.params):
            found |= precisions(inner)
    return found


@pytest.mark.parametrize("precision, product", [("highest", "HIGHEST"), ("high", "HIGH")])
def test_products_of_objective_and_restoration_have_the_precision_asked_for(precision, product):
    config = load("quickstart", "tiny")
    with config.unlocked():
        config.precision = precision
        config.velocity.channel_multipliers = (1, 2)
    method = compose.build_method(config)
    params, frozen = compose.untrained_shapes(method)
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32)
    number = jax.ShapeDtypeStruct((2,), np.int32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    folded = jax.eval_shape(method.fold, params, frozen)
    step = jax.ShapeDtypeStruct((), np.int32)
    batch = Batch(image, image, number, number)
    gradient = jax.grad(lambda params, *rest: method.objective(params, *rest)[0])
    program = jax.make_jaxpr(gradient)(folded, folded, frozen, batch, keys, step)
    assert precisions(program.jaxpr) == {product}
    encoder = method.parts[0]
    given = jax.eval_shape(method.for_inference, params, frozen)
    program = jax.make_jaxpr(lambda *trees: encoder.apply(*trees, None))(given, frozen, image)
    assert precisions(program.jaxpr) == {product}


def test_an_unknown_precision_is_named():
    config = load("quickstart", "tiny")
    with config.unlocked():
        config.precision = "exact"
    with pytest.raises(UserError, match=r"--config.precision=exact: unknown; one of default, high"):
        compose.build_method(config)
