"""The student on small networks: how it starts, what each stage trains, and that it restores so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.flow.path import Sampler, euler
from elir_jax.inference.one_program import run_parts
from elir_jax.methods.directflow import directflow_parts
from elir_jax.methods.distillation import (
    Conditioning,
    Distillation,
    Given,
    StudentInput,
    Teacher,
    distillation_loss,
    distilled_elir,
    draw,
    student_params,
)
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.conditioning import adapter_of, copied, describe, spatial_encoder_of
from elir_jax.networks.layers import collapse
from elir_jax.networks.lora import LoRA

ELIR = small.PLAIN_NETWORKS
VELOCITY = small.VELOCITY.clone(form="plain")
LORA = LoRA(rank=2)
TEACHER = Teacher(num_steps=3, sigma_s=0.1)
KEY = jax.random.key(0)
BATCH = small.batch(4)
NOISE = draw(jax.random.split(KEY, 4), (4, 4, 4))
TERMS = ("latent", "l1", "perceptual", "sgcl")
MMSE = StudentInput()
EVERYTHING = Distillation(1.0, 1.0, 1.0, 0.1, sgcl_probability=1.0)


@functools.cache  # so that its programs are compiled once
def conditioning(adapter="zero", control=True):
    return Conditioning(
        apply_fn(adapter_of(VELOCITY, adapter), jnp.float32) if adapter != "none" else None,
        apply_fn(spatial_encoder_of(VELOCITY), jnp.float32) if control else None,
    )


@pytest.fixture(scope="module")
def frozen():
    params, frozen = small.init(0)
    taught = {name: collapse(tree) for name, tree in params.items()}
    return frozen | {"teacher": taught}


@pytest.fixture(scope="module")
def parts(frozen):
    """Every part of a student, fresh, by name."""
    z, base = jnp.zeros((1, 4, 4, 4)), frozen["teacher"]["velocity"]
    return {
        "lora": LORA.init(KEY, base),
        "velocity": base,
        "control": copied(jax.jit(spatial_encoder_of(VELOCITY).init)(KEY, z)["params"], base),
        **{
            kind: adapter_of(VELOCITY, kind).init(KEY, describe(z))["params"]
            for kind in ("zero", "scalar")
        },
    }


def student(parts, stage, adapter="zero", control=True):
    """(trained, also frozen, conditioning) of a stage."""
    params = {} if adapter == "none" else {"adapter": parts[adapter]}
    more = {}
    if control:
        (params if stage in ("a", "full") else more)["control"] = parts["control"]
    if stage == "b":
        params["lora"] = parts["lora"]
    if stage == "full":
        params["velocity"] = parts["velocity"]
    return params, more, conditioning(adapter, control)


def loss(params, frozen, conditions, objective=EVERYTHING, start=MMSE):
    nets = distilled_elir(ELIR, LORA, conditions, start.input == "lq")
    pair = BATCH.x_hq, BATCH.x_lq
    return distillation_loss(nets, TEACHER, start, objective, params, frozen, *pair, NOISE)


def result(params, frozen, conditions, start):
    """The student's latent."""
    nets = distilled_elir(ELIR, LORA, conditions, start.input == "lq")
    given = nets.given(frozen, BATCH.x_lq)
    z = given.seen if start.input == "lq" else given.mean
    z = z + TEACHER.sigma_s * NOISE.eps if start.share_noise else z
    return z + nets.student(params, frozen, given.seen)(z, jnp.zeros(4)), given


def norm(tree):
    return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("stage", ["a", "b", "full"])
def test_a_fresh_student_takes_the_teachers_one_euler_step(parts, frozen, stage):
    params, more, conditions = student(parts, stage)
    z, given = result(params, frozen | more, conditions, StudentInput())

    def teacher(z, t):
        return ELIR.velocity(frozen["teacher"]["velocity"], z, t)

    wanted = euler(teacher, given.mean + TEACHER.sigma_s * NOISE.eps, 1)
    np.testing.assert_allclose(z, wanted, rtol=1e-6, atol=1e-6)
    _, terms = jax.jit(lambda p: loss(p, frozen | more, conditions))(params)
    np.testing.assert_allclose(terms["latent"], terms["teacher_gap"], rtol=1e-4)


@functools.cache
def differentiated(conditions):
    """A program that gives the gradient of each term, by name, for these parts of a student."""

    def terms(params, frozen):
        _, found = loss(params, frozen, conditions)
        return {name: found[name] for name in TERMS}

    return jax.jit(jax.jacrev(terms))


def gradients(params, frozen, conditions):
    return differentiated(conditions)(params, frozen)


def total(grads):
    return jax.tree.map(lambda *leaves: sum(leaves), *grads.values())


def pieces(control):
    """The zero convolutions of a spatial encoder, and what stands behind them."""
    last = {name: tree for name, tree in control.items() if name.startswith("zero")}
    return last, {name: tree for name, tree in control.items() if name not in last}


def test_every_term_trains_the_adapter_and_the_end_of_the_spatial_encoder_in_stage_a(parts, frozen):
    params, more, conditions = student(parts, "a")
    assert params.keys() == {"adapter", "control"} and not more
    for term, grads in gradients(params, frozen, conditions).items():
        last, behind = pieces(grads["control"])
        assert norm(grads["adapter"]) > 0 and norm(last) > 0 and norm(behind) == 0, term


def test_every_term_trains_lora_and_the_adapter_alone_in_stage_b(parts, frozen):
    params, more, conditions = student(parts, "b")
    assert params.keys() == {"adapter", "lora"} and more.keys() == {"control"}
    for term, grads in gradients(params, frozen | more, conditions).items():
        by_factor = {"up": [], "down": []}
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads["lora"]):
            by_factor[path[-1].key].append(norm(leaf))
        assert norm(grads["adapter"]) > 0, term
        assert min(by_factor["up"]) > 0 and max(by_factor["down"]) == 0, term


@pytest.mark.parametrize("stage", ["a", "b"])
def test_after_one_update_everything_trained_has_a_gradient(parts, frozen, stage):
    params, more, conditions = student(parts, stage)
    grads = total(gradients(params, frozen | more, conditions))
    moved = jax.tree.map(lambda p, g: p - 0.1 * g / (1e-12 + jnp.abs(g).max()), params, grads)
    again = total(gradients(moved, frozen | more, conditions))
    kernels = [
        (path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(again)
        if path[-1].key in ("kernel", "up", "down")
    ]
    assert len(kernels) > 10
    for path, leaf in kernels:
        assert norm(leaf) > 0, jax.tree_util.keystr(path)


def test_a_gate_of_zero_before_a_layer_of_zeros_never_learns(parts, frozen):
    params, more, conditions = student(parts, "b", adapter="scalar", control=False)
    grads = total(gradients(params, frozen, conditions))
    assert norm(grads["adapter"]) == 0 < norm(grads["lora"])


@pytest.mark.parametrize("share", [True, False])
def test_only_with_shared_noise_do_student_and_teacher_start_at_the_same_place(
    parts, frozen, share
):
    starts = []

    def recording(z, t):
        starts.append(z)
        return z

    nets = distilled_elir(ELIR, LORA, conditioning("none", False), False)
    nets = nets._replace(student=lambda params, frozen, seen: recording)
    _, terms = distillation_loss(
        nets, TEACHER, StudentInput(share_noise=share), Distillation(), {}, frozen, BATCH.x_hq,
        BATCH.x_lq, NOISE,
    )  # fmt: skip
    mean = nets.given(frozen, BATCH.x_lq).mean
    wanted = mean + TEACHER.sigma_s * NOISE.eps if share else mean
    np.testing.assert_array_equal(starts[0], wanted)


def moved(params, seed=3):
    """Trained parameters, none of them zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda p: p + jnp.asarray(0.05 * rng.normal(size=p.shape), jnp.float32), params
    )


@pytest.mark.parametrize(
    "start, control",
    [(StudentInput(), False), (StudentInput("lq"), True), (StudentInput("mmse", False), True)],
)
def test_it_restores_what_the_objective_compares(parts, frozen, start, control):
    params, more, conditions = student(parts, "b", control=control)
    params = moved(params)
    z, _ = result(params, frozen | more, conditions, start)
    found = student_params(LORA, params, frozen | more)
    if start.input == "mmse":
        found |= {name: frozen["teacher"][name] for name in ("encoder", "estimator")}
    sampler = Sampler(1, TEACHER.sigma_s, start.share_noise)
    steps = directflow_parts(ELIR, conditions, sampler, VELOCITY.factor)
    encode, flow, decode = steps
    (seen,) = encode.apply(found, frozen, BATCH.x_lq, None)
    states = flow.apply(found, frozen, seen, NOISE.eps)
    assert len(states) == len(flow.shows) == 3
    np.testing.assert_allclose(states[-1], z, rtol=1e-5, atol=1e-5)
    whole = run_parts(steps, found, frozen, BATCH.x_lq, KEY)
    eps = jax.random.normal(KEY, z.shape)
    (wanted,) = decode.apply(found, frozen, flow.apply(found, frozen, seen, eps)[-1], None)
    np.testing.assert_allclose(whole, wanted, rtol=1e-4, atol=1e-4)


def test_each_sample_draws_from_its_own_key():
    keys = jax.random.split(jax.random.key(3), 4)
    together, alone = draw(keys, (2, 2, 4)), draw(keys[2:3], (2, 2, 4))
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours[2], theirs[0])
    many = draw(jax.random.split(jax.random.key(4), 4000), (1, 1, 4))
    assert abs(float(jnp.mean(many.s < 0.25)) - 0.25) < 0.03
    assert abs(float(many.u.mean()) - 0.5) < 0.03
    for noise in (many.eps, many.eps2):
        assert abs(float(noise.std()) - 1) < 0.03
    assert abs(float(jnp.mean(many.eps * many.eps2))) < 0.03


def test_guidance_asks_the_teacher_within_the_band_and_for_chosen_samples_alone():
    times = []
    nets = distilled_elir(ELIR, LORA, conditioning("none", False), False)._replace(
        student=lambda params, frozen, seen: lambda z, t: z + 1.0,
        given=lambda frozen, x: Given(jnp.zeros((4, 4, 4, 4)), jnp.zeros((4, 4, 4, 4))),
        teacher=lambda frozen, z, t: (times.append(t), 0 * z)[1],
    )
    objective = Distillation(latent=0.0, sgcl=1.0, band=(0.1, 0.3), sgcl_probability=0.25)
    noise = NOISE._replace(u=jnp.array([0.0, 0.5, 1.0, 0.2]), s=jnp.array([0.2, 0.3, 0.9, 0.25]))
    _, terms = distillation_loss(
        nets, Teacher(1, 0.0), StudentInput(), objective, {}, {}, BATCH.x_hq, BATCH.x_lq, noise
    )
    np.testing.assert_allclose(times[-1], [0.1, 0.2, 0.3, 0.14], rtol=1e-6)
    # The first sample alone has the term: z = 1, the estimate t z.
    np.testing.assert_allclose(terms["sgcl"], (1 - 0.1) ** 2 / 4, rtol=1e-5)
