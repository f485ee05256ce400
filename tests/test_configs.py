"""Every shipped configuration builds, and traces at its full size, without computing anything."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loading import CONFIGS, count, load
from ml_collections import ConfigDict

from elir_jax import compose
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.blind_super_resolution import BlindSuperResolution
from elir_jax.devices.mesh import AXIS
from elir_jax.errors import UserError
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse
from elir_jax.training.state import create_state
from elir_jax.training.step import StepRequest
from elir_jax.types import Batch

NAMES = sorted(p.stem for p in CONFIGS.glob("*.py") if p.stem != "common")
VARIANTS = ["", "tiny"]
TASKS_OF_FACES = ("colorization", "denoising", "inpainting", "super_resolution")
RELEASED = ("bfr", "blind_super_resolution", *TASKS_OF_FACES)

# What the release's degradation changes of the paper's, to the digit, and what it trains:
# (steps, batch, K, M of the sampler; 0: as many as K).
NOISES = {"colorization": 64 / 255, "denoising": 89.6 / 255, "inpainting": 25.6 / 255}
RELEASES_DEGRADATION = {
    "bfr": {
        "blur": (0.1, 15.0), "share": (1 / 32, 1.2), "noise": (0.0, 20.0), "eight_bit": True,
    },
    "blind_super_resolution": {},
    "super_resolution": {"sigma": 12.8 / 255, "up": "nearest", "eight_bit": True},
    **{name: {"sigma": sigma, "eight_bit": True} for name, sigma in NOISES.items()},
}  # fmt: skip
RELEASES_STEPS = {"bfr": (437_500, 64, 5, 0), "blind_super_resolution": (500_500, 128, 3, 0)}

# Parameters as trained (expanded) and as shipped (collapsed), by configuration. Those of bfr are
# the reference's own: 103,592,848 + 23,334,480 + 1,229,456, and 29,561,232 + 5,498,640 + 1,229,456.
PARAMETERS = {
    ("autoencoder", ""): (1_387_987, 1_387_987),
    ("autoencoder", "tiny"): (41_267, 41_267),
    ("bfr", ""): (128_156_784, 36_289_328),
    ("bfr", "tiny"): (4_883_536, 1_958_160),
    **{(task, ""): (85_017_712, 25_664_304) for task in TASKS_OF_FACES},
    **{(task, "tiny"): (4_883_536, 1_958_160) for task in TASKS_OF_FACES},
    ("blind_super_resolution", ""): (59_047_120, 17_854_480),
    ("blind_super_resolution", "tiny"): (4_883_536, 1_958_160),
    ("shipped_denoising", ""): (32_086_560, 9_812_384),
    ("shipped_denoising", "tiny"): (4_883_536, 1_958_160),
    ("shipped_photo", ""): (16_857_347, 6_473_731),
    ("shipped_photo", "mean"): (1_021_107,) * 2,
    ("shipped_photo", "tiny"): (3_767_939, 1_169_923),
    ("directflow", ""): (2_551_808,) * 2,  # adapters of rank 32, of bfr's velocity
    ("directflow", "tiny"): (1_003_520,) * 2,  # of the shipped one's
    ("latent_pmrf_bfr", ""): (153_902_866,) * 2,
    ("latent_pmrf_bfr", "tiny"): (1_148_625,) * 2,
    ("latent_pmrf_bfr", "latent_mean"): (160_630_962,) * 2,
    ("latent_pmrf_bfr", "tiny_latent_mean"): (2_126_449,) * 2,
    ("pmrf", ""): (121_544_221,) * 2,  # PMRF's hdit_XL2
    ("pmrf", "tiny"): (3_273_233,) * 2,
    ("pmrf_bfr", ""): (160_460_210,) * 2,  # its hdit_ImageNet256Sp4
    ("pmrf_bfr", "tiny"): (3_273_233,) * 2,
    ("posterior_mean", ""): (4_741_007,) * 2,  # its swinir_M
    ("posterior_mean", "tiny"): (243_419,) * 2,
    ("quickstart", ""): (7_334_576, 6_430_448),
    ("quickstart", "tiny"): (2_285_520, 1_958_160),
    ("sim_vae", ""): (91_030_595,) * 2,  # of 32 latent channels, exact
    ("sim_vae", "tiny"): (503_267,) * 2,
}


def all_variants():
    released = [(name, "release") for name in RELEASED]
    own = [("latent_pmrf_bfr", "latent_mean"), ("latent_pmrf_bfr", "tiny_latent_mean")]
    own += [("shipped_photo", "mean")]
    return [(name, variant) for name in NAMES for variant in VARIANTS] + released + own


def slow_at_full_size(names):
    """The tiny variants alone are traced quickly."""
    quick = ("tiny", "tiny_latent_mean")
    return [
        (name, variant) if variant in quick else pytest.param(name, variant, marks=pytest.mark.slow)
        for name, variant in names
    ]


def shape_of(config: ConfigDict) -> str:
    """What the programs' shapes depend on: all but the data and some plain numbers."""
    fields = config.to_dict()
    kept = {"data": config.data.size, "optimizer": None, "degradation": None, "num_steps": None}
    fields["objective"].pop("sigma_s", None)
    return json.dumps(fields | kept, sort_keys=True)


WHOLE = {
    ("autoencoder", ""), ("bfr", ""), ("bfr", "release"), ("colorization", ""), ("directflow", ""),
    ("pmrf_bfr", ""), ("posterior_mean", ""),
}  # fmt: skip
TRACED = {}  # by shape: the tasks of faces are one network


@pytest.mark.parametrize("name, variant", slow_at_full_size(all_variants()))
def test_traces_at_full_size(name, variant):
    """Sizes of all networks, and the programs of those in ``WHOLE``; commands train tiny ones."""
    config = load(name, variant)
    shape = shape_of(config)
    if shape not in TRACED:
        TRACED[shape] = trace(config, (name, variant) in WHOLE)
    assert TRACED[shape] == PARAMETERS[name, variant.replace("release", "")]


def trace(config, programs):
    """(trained, shipped) parameters, after a look at every shape of step and evaluation, if so."""
    method = compose.METHODS[config.method](config)
    optimizer, step = compose.build_step(config, method)
    rows, size = config.batch_size, config.data.size
    image = jax.ShapeDtypeStruct((rows, size, size, 3), jnp.float32)
    number = jax.ShapeDtypeStruct((rows,), jnp.int32)
    batch = Batch(image, image, number, number)

    def init():
        params, frozen = method.init(jax.random.key(0), untrained)
        return create_state(params, frozen, optimizer)

    def one_step(state, batch):
        pieces = jax.tree.map(lambda a: a[None], (batch, StepRequest(state.step, *jnp.zeros(2))))
        over_one = functools.partial(step, axis_name=AXIS)
        return jax.vmap(over_one, (None, 0, 0), None, axis_name=AXIS)(state, *pieces)

    state = jax.eval_shape(init)
    # Shipped are plain kernels; a CPU transforms wide ones before it restores.
    numbers = count(state.params), count(jax.eval_shape(collapse, state.ema))
    if not programs:
        return numbers
    new_state, metrics, _ = jax.eval_shape(one_step, state, batch)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new_state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )
    assert all(metric.shape == () for metric in metrics.values())

    inference = jax.eval_shape(method.for_inference, state.ema, state.frozen)
    side = config.evaluation.size
    image = x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    for part in method.parts:
        noise = x if part.noisy else None
        x = jax.eval_shape(lambda *a, p=part: p.apply(*a)[-1], inference, state.frozen, x, noise)
    assert x == image
    return numbers


def test_bfr_is_the_papers_table_5():
    config = load("bfr")
    assert (config.objective.num_segments, config.objective.dt, config.objective.alpha) == (
        5, 0.05, 0.001,
    )  # fmt: skip
    assert (config.batch_size, config.data.size, config.num_steps) == (64, 512, 437_500)
    assert config.degradation.name == "blind_face_restoration"
    degrade = BlindFaceRestoration(**config.degradation.blind_face_restoration)
    assert degrade == BlindFaceRestoration()  # of equation 10:
    assert (degrade.blur, degrade.scale, degrade.share) == ((0.1, 12.0), (1.0, 12.0), ())
    assert (degrade.noise, degrade.quality) == ((0.0, 15.0), (30, 100))
    assert not degrade.eight_bit
    assert config.optimizer.to_dict() == {
        "learning_rate": 1e-4, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.02,
        "schedule": "constant", "warmup_steps": 0, "warmup_from": 0.0, "final_share": 0.0,
        "decay_steps": 0, "clip_norm": 0.0, "groups": {},
    }  # fmt: skip
    assert (config.ema.decay, config.objective.sigma_s, config.objective.sigma_min) == (
        0.999, 0.1, 1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"method": "gan"}, ["method", "gan", "elir"]),
        ({"dtype": "float16"}, ["dtype", "bfloat16"]),
        ({"degradation": {"name": "fog"}}, ["degradation.name", "denoising"]),
        ({"batch_size": 6}, ["batch_size=6", "4 device", "8"]),
        ({"accumulate": 0}, ["accumulate=0"]),
        ({"data": {"size": 40}}, ["data.size=40", "multiple of 32"]),
        ({"log_every": 0}, ["log_every"]),
        ({"keep_checkpoints": 0}, ["keep_checkpoints=0"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"seed": 2**32}, ["seed=4294967296", "below 2^32"]),
        ({"objective": {"sigma_s": float("nan")}}, ["config.objective: sigma_s", "got nan"]),
        ({"optimizer": {"learning_rate": -1e-4}}, ["config.optimizer: learning_rate", "-0.0001"]),
        ({"sampler": {"num_steps": -1}}, ["config.sampler: num_steps"]),
        ({"evaluation": {"num_samples": 0}}, ["num_samples"]),
        ({"velocity": {"hidden": 40}}, ["multiple of 32"]),
        ({"velocity": {"form": "colapsing"}}, ["colapsing", "collapsing"]),
        ({"estimator": {"num_blocks": 0}}, ["cannot be built", "sizes"]),
        ({"autoencoder": {"width": 0}}, ["cannot be built", "sizes"]),
        ({"degradation": {"denoising": {"sigma": -1.0}}}, ["denoising", "sigma"]),
        ({"data": {"eval_path": "/no/such/folder"}}, ["/no/such/folder"]),
        ({"objective": {"target": "none"}}, ["objective", "ema", "online"]),
        ({"objective": {"dt": 1.5}}, ["objective", "dt"]),
        ({"ema": {"decay": 1.0}}, ["ema", "decay"]),
        ({"ema": {"ramp": "linear"}}, ["ema", "exponential, count"]),
        ({"ema": {"ramp": "count", "ramp_steps": 9.0}}, ["ema", "ramp_steps=0"]),
        ({"optimizer": {"groups": {"decoder": {}}}}, ["optimizer.groups=decoder", "velocity"]),
        ({"optimizer": {"groups": {"encoder": {"rate": 1}}}}, ["optimizer", "rate"]),
        ({"data": {"embedded": False}}, ["--config.data.path=FOLDER"]),
        ({"data": {"path": "/no/such/folder"}}, ["/no/such/folder", "no such folder"]),
    ],
)
def test_mistakes_are_named(changes, words):
    config = load("quickstart", "tiny")
    with config.unlocked():  # as a configuration's own file has it
        config.update(changes)
    with pytest.raises(UserError) as error:
        run = compose.build(config)
        run.data()
        run.state_like()
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", TASKS_OF_FACES)
def test_tasks_of_faces_are_the_papers_table_5(name):
    config = load(name)
    assert config.degradation.name == name
    noise = {"colorization": 0.25, "denoising": 0.35, "inpainting": 0.1, "super_resolution": 0.05}
    assert config.degradation[name].sigma == noise[name] and not config.degradation[name].eight_bit
    assert (config.objective.num_segments, config.objective.dt, config.objective.alpha) == (
        3, 0.05, 0.001,
    )  # fmt: skip
    assert config.objective.sigma_s == (0.025 if name == "denoising" else 0.1)
    assert (config.batch_size, config.data.size, config.data.fit) == (128, 256, "resize")
    assert config.num_steps == round(300 * 70_000 / 128, -3)
    assert config.optimizer.to_dict() == {
        "learning_rate": 2e-4, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.02,
        "schedule": "constant", "warmup_steps": 0, "warmup_from": 0.0, "final_share": 0.0,
        "decay_steps": 0, "clip_norm": 0.0, "groups": {},
    }  # fmt: skip
    assert config.ema.decay == 0.999


@pytest.mark.parametrize("name", RELEASED)
def test_the_release_variant_trains_as_the_released_code(name):
    config = load(name, "release")
    assert (config.objective.target, config.objective.beta) == ("online", 0.001)
    assert config.ema.ramp_steps == 2000 and config.optimizer.weight_decay == 0.01
    used = config.degradation.name
    paper = load(name).degradation[used].to_dict()
    assert config.degradation[used].to_dict() == paper | RELEASES_DEGRADATION[name]
    objective, steps = config.objective, config.sampler.num_steps
    found = (config.num_steps, config.batch_size, objective.num_segments, steps)
    assert found == RELEASES_STEPS.get(name, (136_700, 128, 5, 3))
    wanted = {"dt": 0.05, "sigma_s": 0.1, "alpha": 0.001}
    wanted |= {"blind_super_resolution": {"dt": 0.2, "sigma_s": 0.04}}.get(name, {})
    wanted |= {"denoising": {"sigma_s": 0.025}}.get(name, {})
    assert {field: objective[field] for field in wanted} == wanted
    assert config.velocity.hidden == (96 if name == "blind_super_resolution" else 128)


def test_blind_super_resolution_is_the_releases():
    config = load("blind_super_resolution")
    degrade = BlindSuperResolution(**config.degradation.blind_super_resolution)
    assert config.degradation.name == "blind_super_resolution"
    assert degrade == BlindSuperResolution() and degrade.second_order_probability == 0
    assert (config.objective.dt, config.objective.sigma_s) == (0.2, 0.04)
    assert (config.velocity.hidden, config.estimator.hidden) == (96, 96)
    assert (config.num_steps, config.batch_size, config.data.size) == (500_500, 128, 256)
    assert config.data.fit == "pad"


@pytest.mark.parametrize("name", RELEASED)
def test_every_task_makes_its_pairs(name):
    data = compose.build_data(load(name, "tiny"))
    batch = next(data.batches(0, 1))
    assert batch.x_hq.shape == batch.x_lq.shape == (4, 64, 64, 3)
    assert np.abs(batch.x_hq - batch.x_lq).mean() > 0.01
    config = load(name)
    with config.unlocked():
        config.data.embedded = True
    (*_, x_hq, x_lq), *_ = compose.build_data(config).held_out.pairs(range(1))
    assert x_hq.shape == x_lq.shape == (config.evaluation.size, config.evaluation.size, 3)


def test_an_unknown_variant_is_an_error():
    with pytest.raises(ValueError, match="tiny"):
        load("quickstart", "huge")


def test_bfr_without_data_says_how_to_give_it():
    with pytest.raises(UserError, match="--config.data.path=FOLDER"):
        compose.build_data(load("bfr"))


def test_embedded_weights_reach_the_frozen_and_the_trained_encoder():
    config = load("quickstart", "tiny")
    params, frozen = compose.METHODS["elir"](config).init(
        jax.random.key(0), starting_weights(config)
    )
    for ours, theirs in zip(
        jax.tree.leaves(params["encoder"]), jax.tree.leaves(frozen["encoder"]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
