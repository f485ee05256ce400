"""Distillation in closed form: one Gaussian direction, networks that are formulas.

``x* ~ N(0, m^2)``, originals ``x* + N(0, tau^2)``, source ``x* + sigma n``. The flow's velocity at
``(x, t)`` is then ``x (t tau^2 - (1 - t) sigma^2) / d(t)``, with ``d(t) = m^2 + t^2 tau^2 + (1 -
t)^2 sigma^2``, and every result is a number times the start.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.methods.distillation import (
    Distillation,
    Distilled,
    Draw,
    Given,
    StudentInput,
    Teacher,
    distillation_loss,
    transport,
)

M2, T2, S2 = 1.0, 2.0, 0.09  # variances: posterior means, what they lack, source noise
SIGMA = math.sqrt(S2)
ROWS = 64
WIDE = (-math.inf, math.inf)
TEN_STEPS, SHARED = Teacher(10, SIGMA), StudentInput()
SGCL = Distillation(latent=0.0, sgcl=1.0, sgcl_probability=1.0)


def times(x, t):
    return x * t[:, None, None, None]


def gaussian(tau2=T2, sigma2=S2):
    """Velocity of the flow."""

    def velocity(frozen, x, t):
        d = M2 + t**2 * tau2 + (1 - t) ** 2 * sigma2
        return times(x, (t * tau2 - (1 - t) * sigma2) / d)

    return velocity


def networks(teacher, decode=lambda frozen, z: z, limits=WIDE):
    """The degraded picture is its own posterior mean; the student multiplies by ``k``."""
    return Distilled(
        given=lambda frozen, x: Given(x, x),
        teacher=teacher,
        student=lambda params, frozen, seen: lambda z, t: (params["k"] - 1) * z,
        encode=lambda frozen, x: x,
        decode=decode,
        limits=limits,
    )


def samples(seed=0):
    """(pictures, noise) whose products with each other vanish: each noise comes with its minus."""
    rng = np.random.default_rng(seed)
    half = [rng.normal(size=(ROWS // 2, 1, 1, 3)).astype(np.float32) for _ in range(3)]
    x, eps, eps2 = jnp.asarray(half)
    u, s = jnp.asarray(rng.random((2, ROWS // 2)), jnp.float32)
    both = [jnp.concatenate([a, sign * a]) for a, sign in ((x, 1), (eps, -1), (eps2, -1))]
    twice = [jnp.concatenate([a, a]) for a in (u, s)]
    return both[0], Draw(both[1], *twice, both[2])


X, NOISE = samples()


def loss(nets, k, objective, teacher=TEN_STEPS, start=SHARED, noise=NOISE):
    params = {"k": jnp.float32(k)}
    return distillation_loss(nets, teacher, start, objective, params, {}, X, X, noise)


def slope(nets, k, objective, **more):
    """Derivative of the loss in ``k``."""
    return jax.grad(lambda k: loss(nets, k, objective, **more)[0])(jnp.float32(k))


def gain(num_steps, tau2, sigma2):
    """What ``num_steps`` Euler steps multiply by."""
    found = 1.0
    for t in np.arange(num_steps) / num_steps:
        d = M2 + t**2 * tau2 + (1 - t) ** 2 * sigma2
        found *= 1 + (t * tau2 - (1 - t) * sigma2) / (num_steps * d)
    return found


@pytest.mark.parametrize(
    "tau2, gains", [(1.0, (1.0, 1.326, 1.369, 1.396)), (31.0, (1.0, 3.557, 4.528, 5.183))]
)
def test_the_teachers_steps_reach_these_gains_and_one_step_is_never_the_transport(tau2, gains):
    for num_steps, printed in zip((1, 5, 10, 25), gains, strict=True):
        found = transport(networks(gaussian(tau2, 0.0)), Teacher(num_steps, 0.0), {}, X, NOISE.eps)
        np.testing.assert_allclose(found.z_1, gain(num_steps, tau2, 0.0) * X, rtol=1e-5)
        assert abs(gain(num_steps, tau2, 0.0) - printed) < 6e-4
        np.testing.assert_allclose(found.one_step, X, rtol=1e-5, atol=1e-6)
    assert abs(gain(20_000, tau2, 0.0) / math.sqrt(1 + tau2) - 1) < 1e-3


def test_one_step_of_the_teacher_is_the_posterior_mean_of_its_start():
    found = transport(networks(gaussian()), Teacher(1, SIGMA), {}, X, NOISE.eps)
    np.testing.assert_allclose(found.z_1, found.z_0 * M2 / (M2 + S2), rtol=1e-5, atol=1e-6)


def test_with_the_teachers_noise_a_student_can_reach_its_end():
    value, terms = loss(networks(gaussian()), gain(10, T2, S2), Distillation())
    assert value < 1e-10 < 1e-3 < terms["teacher_gap"]


def test_without_it_the_best_student_keeps_the_noises_share_of_the_end():
    best, apart = gain(10, T2, S2), {"start": StudentInput(share_noise=False)}
    value, _ = loss(networks(gaussian()), best, Distillation(), **apart)
    np.testing.assert_allclose(value, best**2 * S2 * jnp.mean(NOISE.eps**2), rtol=1e-5)
    assert abs(slope(networks(gaussian()), best, Distillation(), **apart)) < 1e-5


def test_the_share_of_the_transport_that_is_not_learned_is_one_for_the_teachers_own_step():
    _, terms = loss(networks(gaussian()), M2 / (M2 + S2), Distillation())
    np.testing.assert_allclose(terms["latent"], terms["teacher_gap"], rtol=1e-4)


def test_guidance_agrees_with_a_straight_teacher_only_from_the_teachers_start():
    u = jnp.asarray(np.random.default_rng(5).normal(size=X.shape), jnp.float32)
    straight = networks(lambda frozen, z, t: u)._replace(
        student=lambda params, frozen, seen: lambda z, t: u
    )
    z_0 = X + SIGMA * NOISE.eps
    t = 0.05 + 0.15 * NOISE.u
    found = {
        source: loss(straight, 0.0, dataclasses.replace(SGCL, sgcl_source=source))[1]["sgcl"]
        for source in ("start", "fresh", "noise")
    }
    assert found["start"] < 1e-10
    for source, there in (("noise", NOISE.eps2), ("fresh", X + SIGMA * NOISE.eps2)):
        wanted = jnp.mean((1 - t) ** 2 * jnp.mean((there - z_0) ** 2, axis=(1, 2, 3)))
        np.testing.assert_allclose(found[source], wanted, rtol=1e-5)


def at(t, source):
    return dataclasses.replace(SGCL, band=(t, t), sgcl_source=source)


def clean_gain(t):
    """The teacher's clean estimate at ``t`` multiplies by this."""
    return (M2 + t * T2) / (M2 + t**2 * T2 + (1 - t) ** 2 * S2)


@pytest.mark.parametrize("t", [0.1, 0.2, 0.9])
def test_guidance_from_the_start_rests_at_its_own_gain_which_is_not_the_transports(t):
    rest = (M2 + t * T2) / (M2 + (1 - t) * S2)
    c = clean_gain(t)
    np.testing.assert_allclose(rest, c * (1 - t) / (1 - c * t), rtol=1e-12)
    assert loss(networks(gaussian()), rest, at(t, "start"))[0] < 1e-10
    assert abs(rest - gain(1000, T2, S2)) > 0.1


def test_without_source_noise_that_gain_equals_the_transports_at_one_time():
    ratio = T2 / M2
    t = 1 / (1 + math.sqrt(1 + ratio))
    np.testing.assert_allclose(1 + t * ratio, math.sqrt(1 + ratio), rtol=1e-12)
    quiet = {"teacher": Teacher(10, 0.0)}
    value, _ = loss(networks(gaussian(T2, 0.0)), math.sqrt(1 + ratio), at(t, "start"), **quiet)
    assert value < 1e-10


@pytest.mark.parametrize("k", [0.0, 1.3])
def test_guidance_from_unit_noise_pulls_every_student_to_zero(k):
    t = 0.15
    z_0 = X + SIGMA * NOISE.eps
    wanted = 2 * (1 - t * clean_gain(t)) * k * jnp.mean(z_0**2)
    # Products of the two noises do not vanish; they are the part that no gain explains.
    query = (1 - t) * NOISE.eps2
    mixed = 2 * jnp.mean(z_0 * clean_gain(t) * query)
    found = slope(networks(gaussian()), k, at(t, "noise"))
    np.testing.assert_allclose(found, wanted - mixed, rtol=1e-5, atol=1e-6)


def test_both_terms_together_rest_between_their_gains():
    t, weight, share = 0.15, 0.7, 0.5
    half = jnp.concatenate([jnp.zeros(ROWS // 4), jnp.ones(ROWS // 4)])
    active = 0.9 * jnp.concatenate([half, half])
    # The same start in both halves of each half, so that the active samples are like the others.
    quarter = X[: ROWS // 4]
    x, eps = jnp.concatenate([quarter] * 4), jnp.concatenate([NOISE.eps[: ROWS // 4]] * 4)
    noise = Draw(eps, NOISE.u, active, NOISE.eps2)
    objective = Distillation(
        latent=1.0, sgcl=weight, band=(t, t), sgcl_probability=share, sgcl_source="start"
    )
    w = 1 - t * clean_gain(t)
    ours = gain(10, T2, S2), (M2 + t * T2) / (M2 + (1 - t) * S2)
    pull = weight * share * w
    rest = (ours[0] + pull * ours[1]) / (1 + pull)

    def total(k):
        nets = networks(gaussian())
        return distillation_loss(nets, TEN_STEPS, SHARED, objective, {"k": k}, {}, x, x, noise)[0]

    assert abs(jax.grad(total)(jnp.float32(rest))) < 1e-5
    assert abs(jax.grad(total)(jnp.float32(ours[0]))) > 1e-3


@jax.custom_vjp
def never_differentiated(z):
    return 0.3 * z


never_differentiated.defvjp(lambda z: (0.3 * z, None), lambda _, g: (g * jnp.nan,))


@pytest.mark.parametrize("sgcl", [0.0, 1.0])
def test_the_teacher_is_never_differentiated(sgcl):
    def run(teacher):
        objective = Distillation(latent=1.0, sgcl=sgcl, sgcl_probability=1.0)
        return slope(networks(teacher), 1.3, objective)

    poisoned = run(lambda frozen, z, t: never_differentiated(z))
    assert jnp.isfinite(poisoned)
    np.testing.assert_allclose(poisoned, run(lambda frozen, z, t: 0.3 * z), rtol=1e-6)


def test_the_gradient_of_guidance_is_twice_the_distance_to_the_clean_estimate():
    nets, k, t = networks(gaussian()), 1.3, 0.1
    z_0 = X + SIGMA * NOISE.eps
    z = k * z_0
    clean = clean_gain(t) * (t * z + (1 - t) * z_0)
    wanted = jnp.sum(2 * (z - clean) / z.size * z_0)
    np.testing.assert_allclose(slope(nets, k, at(t, "start")), wanted, rtol=1e-5)


def test_clean_estimates_stay_within_the_limits():
    narrow = networks(lambda frozen, z, t: 100 + 0 * z, limits=(-0.5, 0.5))
    value, _ = loss(narrow, 0.0, at(0.1, "start"))
    np.testing.assert_allclose(value, 0.25, rtol=1e-6)


MIX = jnp.asarray(np.random.default_rng(7).normal(size=(3, 3)), jnp.float32)


@pytest.mark.parametrize("target", ["teacher", "hq"])
def test_the_l1_term_reaches_the_student_through_the_decoder(target):
    nets = networks(gaussian(), decode=lambda frozen, z: z @ MIX)
    objective = Distillation(latent=0.0, l1=1.0, pixel_target=target)
    z_0 = X + SIGMA * NOISE.eps
    wanted = X if target == "hq" else jnp.clip(gain(10, T2, S2) * z_0 @ MIX, 0, 1)
    sign = jnp.sign(1.3 * z_0 @ MIX - wanted)
    found = slope(nets, 1.3, objective)
    np.testing.assert_allclose(found, jnp.mean(sign * (z_0 @ MIX)), rtol=1e-5)


def test_guidance_in_pixels_compares_decoded_pictures():
    nets = networks(gaussian(), decode=lambda frozen, z: z @ MIX)
    t, k = 0.1, 1.3
    objective = dataclasses.replace(at(t, "start"), sgcl_space="pixel")
    z_0 = X + SIGMA * NOISE.eps
    clean = clean_gain(t) * (t * k + 1 - t) * z_0
    wanted = jnp.mean((k * z_0 @ MIX - jnp.clip(clean @ MIX, 0, 1)) ** 2)
    np.testing.assert_allclose(loss(nets, k, objective)[0], wanted, rtol=1e-5)


def test_a_student_of_one_number_learns_the_transport_by_gradient_descent():
    nets, teacher = networks(gaussian()), Teacher(25, SIGMA)
    update = jax.jit(lambda k: k - 0.2 * slope(nets, k, Distillation(), teacher=teacher))
    k = jnp.float32(1.0)
    for _ in range(100):
        k = update(k)
    assert abs(k - gain(25, T2, S2)) < 1e-3


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Teacher(num_steps=0), "num_steps"),
        (lambda: Teacher(bridge="x"), "bridge"),
        (lambda: Teacher(sigma_s=-1.0), "sigma_s"),
        (lambda: StudentInput(input="x"), "input"),
        (lambda: Distillation(band=(0.3, 0.2)), "band"),
        (lambda: Distillation(band=(0.0, 0.2)), "band"),
        (lambda: Distillation(band=(0.2, 1.0)), "band"),
        (lambda: Distillation(latent=0.0), "above 0"),
        (lambda: Distillation(sgcl=-1.0), "sgcl must be"),
        (lambda: Distillation(sgcl_probability=0.0), "sgcl_probability"),
        (lambda: Distillation(sgcl_source="x"), "sgcl_source"),
        (lambda: Distillation(sgcl_space="x"), "sgcl_space"),
        (lambda: Distillation(pixel_target="x"), "pixel_target"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
