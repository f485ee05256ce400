"""Neighbourhoods are shifted at borders, and both forms compute them, at the promised cost."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from elir_jax.networks import attention
from elir_jax.networks.rope import angles, frequencies, positions, rotate

SIDES = [(7, 7, 7), (14, 22, 7), (25, 17, 7), (16, 24, 7), (11, 8, 5), (3, 6, 3), (19, 10, 9)]


def drawn(shape, count=3):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(count)]


def naive(q, k, v, kernel, scale):
    """Query by query, as the definition says."""
    out = np.zeros_like(q)
    _, height, width, _, _ = q.shape
    for i in range(height):
        for j in range(width):
            top = min(max(i - kernel // 2, 0), height - kernel)
            left = min(max(j - kernel // 2, 0), width - kernel)
            window = np.s_[:, top : top + kernel, left : left + kernel]
            logits = scale * np.einsum("bne,bhwne->bnhw", q[:, i, j], k[window])
            weights = np.exp(logits - logits.max((-2, -1), keepdims=True))
            weights /= weights.sum((-2, -1), keepdims=True)
            out[:, i, j] = np.einsum("bnhw,bhwne->bne", weights, v[window])
    return out


@pytest.mark.parametrize("height, width, kernel", SIDES)
def test_dense_and_tiled_forms_equal_the_definition(height, width, kernel):
    q, k, v = drawn((2, height, width, 2, 8))
    expected = naive(*map(np.asarray, (q, k, v)), kernel, 0.7)
    for form in (attention.dense_neighbourhood, attention.tiled_neighbourhood):
        ours = jax.jit(form, static_argnums=(3, 4))(q, k, v, kernel, 0.7)
        assert np.max(np.abs(ours - expected)) <= 1e-5


@pytest.mark.parametrize("height, width, kernel", SIDES[1:3])
def test_gradients_of_both_forms_are_equal(height, width, kernel):
    *qkv, weight = drawn((2, height, width, 2, 8), 4)

    def gradients(form):
        return jax.jit(jax.grad(lambda x: jnp.sum(form(*x, kernel, 0.7) * weight)))(qkv)

    dense = gradients(attention.dense_neighbourhood)
    for one, other in zip(dense, gradients(attention.tiled_neighbourhood), strict=True):
        assert jnp.max(jnp.abs(one - other)) <= 1e-5


def test_many_attentions_together_equal_those_by_turns(monkeypatch):
    """What other backends do; a CPU takes one tile or head after the other."""
    q, k, v = drawn((2, 14, 22, 2, 8))
    by_turns = (
        attention.tiled_neighbourhood(q, k, v, 7, 0.7),
        attention.global_attention(q, k, v, 1.0),
    )

    def elsewhere(*inputs, cpu, default):
        return default(*inputs)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    together = (
        attention.tiled_neighbourhood(q, k, v, 7, 0.7),
        attention.global_attention(q, k, v, 1.0),
    )
    for one, other in zip(by_turns, together, strict=True):
        assert jnp.max(jnp.abs(one - other)) <= 1e-6


def test_attention_over_all_tokens_is_that_of_a_neighbourhood_as_large():
    q, k, v = drawn((2, 5, 5, 2, 8))
    whole = attention.global_attention(q, k, v, 0.7)
    assert jnp.max(jnp.abs(whole - attention.dense_neighbourhood(q, k, v, 5, 0.7))) <= 1e-6


def equations(jaxpr, times=1):
    """(equation, how often it runs) of a program, of one branch where platforms differ."""
    for equation in jaxpr.eqns:
        inner = (
            times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        )
        branches = equation.params.get("branches")
        programs = branches[:1] if branches else jaxprs_in_params(equation.params)
        for program in programs:
            yield from equations(getattr(program, "jaxpr", program), inner)
        yield equation, times


def products(function, *arrays):
    """Multiplications of all matrix products."""
    total = 0
    for equation, times in equations(jax.make_jaxpr(function)(*arrays).jaxpr):
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            size = math.prod(equation.outvars[0].aval.shape)
            total += times * size * math.prod(left[i] for i in contracted)
    return total


@pytest.mark.parametrize("backward", [False, True])
def test_the_tiled_form_multiplies_at_most_four_times_what_the_windows_hold(backward):
    q, k, v = drawn((2, 64, 32, 2, 16))

    def forward(q, k, v):
        return attention.tiled_neighbourhood(q, k, v, 7, 1.0)

    def loss(*qkv):
        return jnp.sum(forward(*qkv))

    # With its gradient an attention has six products of its windows in place of two.
    program = jax.grad(loss, (0, 1, 2)) if backward else forward
    exact = (6 if backward else 2) * q.size * 7 * 7
    assert exact <= products(program, q, k, v) <= 4 * exact
    dense = products(lambda *qkv: attention.dense_neighbourhood(*qkv, 7, 1.0), q, k, v)
    assert dense == 2 * q.size * 64 * 32  # the count counts


@pytest.mark.parametrize("backward", [False, True])
def test_gathered_keys_and_values_take_at_most_three_times_their_size(backward):
    q, k, v = drawn((1, 64, 32, 2, 16))

    def loss(*qkv):
        return jnp.sum(attention.tiled_neighbourhood(*qkv, 7, 1.0))

    program = jax.make_jaxpr(jax.grad(loss, (0, 1, 2)) if backward else loss)(q, k, v)
    with_channels = [
        variable.aval.size
        for equation, _ in equations(program.jaxpr)
        for variable in equation.outvars
        if variable.aval.shape[-1:] == (16,)
    ]
    assert 3.0 * k.size <= max(with_channels) <= 3.1 * k.size


def test_the_form_with_fewer_products_is_taken():
    assert attention.tiled_products(14, 22, 7) < (14 * 22) ** 2
    assert attention.tiled_products(10, 14, 7) > (10 * 14) ** 2
    for height, width in ((14, 22), (10, 14)):
        count = products(
            lambda *qkv: attention.neighbourhood_attention(*qkv, 7, 1.0),
            *drawn((1, height, width, 1, 1)),
        )
        fewest = min(attention.tiled_products(height, width, 7), (height * width) ** 2)
        assert count == 2 * fewest


@pytest.mark.parametrize("kernel", [4, 9])
def test_kernels_that_do_not_fit_are_refused(kernel):
    with pytest.raises(ValueError, match="8x12 tokens"):
        attention.neighbourhood_attention(*drawn((1, 8, 12, 1, 4)), kernel, 1.0)


def test_positions_are_centres_of_square_cells_and_coarser_ones_are_their_means():
    fine = positions(4, 8)
    assert np.allclose(fine[0, :, 1], np.arange(-7, 8, 2) / 8)
    assert np.allclose(fine[:, 0, 0], np.arange(-3, 4, 2) / 8)
    means = fine.reshape(2, 2, 4, 2, 2).mean((1, 3))
    assert np.allclose(means, positions(2, 4), atol=1e-7)


def test_frequencies_rise_from_pi_by_one_factor_with_heads_side_by_side():
    rising = frequencies(3, 16).T.ravel()
    assert rising[0] == pytest.approx(math.pi)
    assert np.allclose(rising[1:] / rising[:-1], 10 ** (1 / 6))


def test_rotated_products_depend_on_the_distance_of_positions_alone():
    q, k = (jnp.broadcast_to(x, (1, 6, 6, 2, 16)) for x in drawn((1, 1, 1, 2, 16), 2))
    theta = angles(6, 6, 2, 16)
    q, k = rotate(q, theta)[0], rotate(k, theta)[0]
    near = jnp.einsum("ne,ne->n", q[1, 2], k[3, 1]), jnp.einsum("ne,ne->n", q[3, 4], k[5, 3])
    other = jnp.einsum("ne,ne->n", q[1, 2], k[1, 3])
    assert jnp.max(jnp.abs(near[0] - near[1])) <= 1e-4
    assert jnp.max(jnp.abs(near[0] - other)) > 1e-2
