"""The train step: independent of the number of devices, pure, traced once, and able to learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from rounding import first_moments, norm_of_difference, parameters_apart, reordered

from elir_jax.devices.collectives import collectives
from elir_jax.devices.mesh import compiled_step, parallel_step, replicate
from elir_jax.methods.elir import ElirObjective, elir_objective
from elir_jax.networks.layers import collapse
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.state import create_state
from elir_jax.training.step import StepRequest, train_step

DT = 0.05
OBJECTIVE = elir_objective(small.NETWORKS, ElirObjective(num_segments=3, dt=DT))
RATE = EPS = 1e-3
OPTIMIZER = AdamW(learning_rate=RATE, eps=EPS).build(100)
AVERAGE = Ema(decay=0.9)


def new_state():
    return replicate(create_state(*small.init(), OPTIMIZER))


def step_with(
    accumulate=1, objective=OBJECTIVE, seed=0, fold=lambda params, frozen: params,
    optimizer=OPTIMIZER,
    ema=AVERAGE, max_skipped_steps=0,
):  # fmt: skip
    return functools.partial(
        train_step,
        objective=objective,
        fold=fold,
        optimizer=optimizer,
        ema=ema,
        seed=seed,
        accumulate=accumulate,
        max_skipped_steps=max_skipped_steps,
    )


def one_device(step):
    """The same step over one device: the reference for several."""

    def call(state, batch, order):
        pieces = jax.tree.map(lambda a: a[None], (batch, order))
        return jax.vmap(
            functools.partial(step, axis_name="one"), (None, 0, 0), None,
            axis_name="one", axis_size=1,
        )(state, *pieces)  # fmt: skip

    jitted = jax.jit(call)

    def made(state, batch):
        state, metrics, verdict = jitted(
            state, batch, StepRequest(state.step, jnp.float32(0), jnp.float32(0))
        )
        assert verdict.applied and not verdict.stop and not verdict.empty
        return state, metrics

    return made


def many_devices(mapped):
    """A step over all devices, with the order that a run gives."""

    def made(state, batch):
        state, metrics, verdict = mapped(state, batch, StepRequest(int(state.step)))
        assert verdict.applied
        return state, metrics

    return made


@pytest.fixture(scope="module")
def single():
    return one_device(step_with())


def host(tree):
    return jax.tree.map(np.asarray, jax.device_get(tree))


def assert_close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def fold_trained(params, frozen):
    return {name: collapse(tree) for name, tree in params.items()}


PLAIN = elir_objective(small.PLAIN_NETWORKS, ElirObjective(num_segments=3, dt=DT))


TRACES = []


@pytest.fixture(scope="module")
def mapped():
    """The step over four devices as a run makes it, which notes when it is traced."""

    def counting(*args):
        TRACES.append(1)
        return PLAIN(*args)

    return parallel_step(step_with(objective=counting, fold=fold_trained))


@pytest.fixture(scope="module")
def four(mapped):
    return many_devices(mapped)


def test_four_devices_do_what_one_does(four, single):
    """The one contracts its blocks inside the networks, the four before, for the gradients too."""
    assert jax.local_device_count() == 4
    many, alone = new_state(), create_state(*small.init(), OPTIMIZER)
    error = reordered(small.batch().x_hq.size)
    for i in range(3):
        many, metrics = four(many, host(small.batch(seed=i)))
        alone, expected = single(alone, small.batch(seed=i))
        assert metrics.keys() == expected.keys()
        gradient_norm = float(expected["grad_norm"])
        apart = parameters_apart(i + 1, RATE, EPS, gradient_norm, error)
        for name in metrics:
            # Of two velocities dt apart the difference alone counts, and rounding with it.
            cancelled = 2 / DT if name.startswith("consistency") else 1
            np.testing.assert_allclose(
                metrics[name], expected[name], rtol=(i + 1) * cancelled * error, err_msg=name
            )
        if i == 0:  # the first moment is a tenth of the gradient
            first, reference = map(first_moments, (many, alone))
            assert norm_of_difference(first, reference) <= error * 0.1 * gradient_norm
            for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(reference), strict=True):
                scale = max(float(jnp.abs(b).max()), 1e-4)
                np.testing.assert_allclose(a, b, atol=error * scale)
        for tree in ("params", "ema"):
            assert norm_of_difference(getattr(many, tree), getattr(alone, tree)) <= apart
    moved = norm_of_difference(alone.params, small.init()[0])
    assert moved > 1000 * apart  # else the bound would say nothing


def test_the_objective_sees_the_average_before_the_step():
    def spy(params, ema, *_):
        return params["w"].sum(), {"seen": ema["w"].mean(), "now": params["w"].mean()}

    half = Ema(decay=0.5)
    step = one_device(step_with(objective=spy, ema=half))
    state = create_state({"w": jnp.ones(2)}, {}, OPTIMIZER)
    for _ in range(3):
        average = state.ema["w"].mean()
        state, metrics = step(state, small.batch())
        np.testing.assert_allclose(metrics["seen"], average, rtol=1e-6)
    assert float(metrics["seen"]) - float(metrics["now"]) > 0.1 * RATE  # they are two things


def test_the_objective_sees_the_number_of_updates_made_before():
    def spy(params, ema, frozen, batch, keys, step):
        return params["w"].sum(), {"step": step.astype(jnp.float32)}

    step = one_device(step_with(objective=spy))
    state, seen = create_state({"w": jnp.ones(2)}, {}, OPTIMIZER), []
    for _ in range(3):
        state, metrics = step(state, small.batch())
        seen.append(float(metrics["step"]))
    assert seen == [0, 1, 2]


def test_an_adapter_is_merged_into_frozen_weights_and_is_trained_alone():
    """``W = W_0 + a b^T``: the loss sum(W C) has the gradient C b by a."""
    factor = jnp.arange(6.0).reshape(2, 3)
    params = {"adapter": {"a": jnp.ones((2, 1)), "b": jnp.full((3, 1), 2.0)}}
    frozen = {"w": jnp.full((2, 3), 5.0)}

    def fold(params, frozen):
        return {"w": frozen["w"] + params["adapter"]["a"] @ params["adapter"]["b"].T}

    def objective(params, ema, frozen, batch, keys, step):
        return jnp.sum(params["w"] * factor), {"average": jnp.sum(ema["w"])}

    step = one_device(step_with(objective=objective, fold=fold))
    state, metrics = step(create_state(params, frozen, OPTIMIZER), small.batch())
    assert float(metrics["loss"]) == 7.0 * 15 and float(metrics["average"]) == 7.0 * 6
    moment = first_moments(state)["adapter"]["a"]  # a tenth of the gradient
    np.testing.assert_allclose(moment, 0.1 * factor @ params["adapter"]["b"], rtol=1e-6)
    np.testing.assert_array_equal(state.frozen["w"], frozen["w"])


def test_accumulated_parts_give_the_whole_batchs_gradient():
    def means(params, ema, frozen, batch, keys, step):
        noise = jax.vmap(jax.random.uniform)(keys)
        error = batch.x_lq.mean((1, 2)) @ params["w"] - noise - batch.x_hq.mean((1, 2, 3))
        return jnp.mean(error**2), {"error": error.mean()}

    parts, whole = (
        one_device(step_with(objective=means, accumulate=n))(
            create_state({"w": jnp.arange(3.0)}, {}, OPTIMIZER), small.batch()
        )
        for n in (4, 1)
    )
    for name in whole[1]:
        np.testing.assert_allclose(parts[1][name], whole[1][name], rtol=1e-5, err_msg=name)
    assert_close(parts[0].opt_state, whole[0].opt_state, rtol=1e-5)


def test_the_step_is_traced_once_and_the_state_has_no_device_axis(four):
    state = new_state()
    shapes = jax.tree.map(lambda a: a.shape, state)
    counts = []
    for i in range(3):
        state, _ = four(state, host(small.batch(seed=i)))
        counts.append(len(TRACES))
    assert counts[0] == counts[-1] > 0
    assert jax.tree.map(lambda a: a.shape, state) == shapes
    assert int(state.step) == 3


def test_the_given_state_is_donated_and_frozen_weights_stay(four):
    state = new_state()
    frozen = host(state.frozen)
    new, _ = four(state, host(small.batch()))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert jax.tree.all(jax.tree.map(np.array_equal, host(new.frozen), frozen))


def sloped(slope):
    return lambda w: slope * w.sum()


NOTHING = "applied stop empty skipped"
# Of w = (1, 1, 1): the request, the loss, and what the verdict does not say.
REASONS = {
    "after a step that was not applied": (StepRequest(7), sloped(1.0), NOTHING),
    "a host has no batch": (
        StepRequest(0, stop=1.0, empty=1.0), sloped(1.0), "applied skipped",
    ),
    "the loss is not finite": (StepRequest(0), sloped(np.nan), NOTHING),
    "the loss overflows": (StepRequest(0), sloped(3e38), NOTHING),
    "a gradient alone is not a number": (StepRequest(0), lambda w: jnp.sqrt(0 * w).sum(), NOTHING),
    "a gradient alone is infinite": (StepRequest(0), lambda w: jnp.sqrt(w - 1).sum(), NOTHING),
    "the norm of gradients alone overflows": (StepRequest(0), sloped(1e20), NOTHING),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_a_step_that_must_not_be_made_changes_nothing(reason):
    order, loss, unset = REASONS[reason]
    objective = lambda params, *_: (loss(params["w"]), {})  # noqa: E731
    step = parallel_step(step_with(objective=objective))
    state = replicate(create_state({"w": jnp.ones(3)}, {"f": jnp.ones(1)}, OPTIMIZER))
    before = host(state)
    after, metrics, verdict = step(state, host(small.batch()), order)
    assert np.isfinite(metrics["loss"]) == ("the loss" not in reason)
    assert {name for name in verdict._fields if not getattr(verdict, name)} == set(unset.split())
    assert jax.tree.all(jax.tree.map(np.array_equal, host(after), before))


def test_an_update_that_overflows_is_not_made():
    objective = lambda params, *_: (params["w"].sum(), {})  # noqa: E731
    huge = AdamW(learning_rate=1e30).build(100)
    step = parallel_step(step_with(objective=objective, optimizer=huge))
    state = replicate(create_state({"w": jnp.ones(3)}, {"f": jnp.ones(1)}, huge))
    before = host(state)
    after, metrics, verdict = step(state, host(small.batch()), StepRequest(0))
    assert not verdict.applied and not np.isfinite(metrics["update_norm"])
    for name in ("step", "params", "ema", "frozen"):
        same = jax.tree.map(np.array_equal, host(getattr(after, name)), getattr(before, name))
        assert jax.tree.all(same), name


def test_steps_that_are_not_finite_are_skipped_until_the_limit():
    """Of images' numbers 1, 2, 3, ... the multiples of 2 give a loss that is not finite."""

    def objective(params, ema, frozen, batch, keys, step):
        number = batch.record[0].astype(jnp.float32)
        return params["w"].sum() * jnp.where(number % 2 == 0, jnp.nan, number), {}

    optimizer = AdamW().build(100)
    step = parallel_step(step_with(objective=objective, optimizer=optimizer, max_skipped_steps=2))
    state = replicate(create_state({"w": jnp.ones(3)}, {"f": jnp.ones(1)}, optimizer))
    verdicts, before = [], host(state)
    for number in range(1, 7):
        batch = host(small.batch())._replace(record=np.full(len(small.batch().record), number))
        state, _, verdict = step(state, batch, StepRequest(number - 1))
        verdicts.append((bool(verdict.applied), bool(verdict.skipped)))
        after = host(state)
        trained = [(after.params, before.params), (after.ema, before.ema)]
        trained.append((after.opt_state, before.opt_state))
        same = [jax.tree.all(jax.tree.map(np.array_equal, a, b)) for a, b in trained]
        assert same == [number % 2 == 0] * 3
        before = after
    assert verdicts == [(True, False), (False, True)] * 2 + [(True, False), (False, False)]
    assert (int(state.step), int(state.skipped)) == (5, 2)  # the sixth would be a third


def test_a_stop_is_told_and_the_step_is_made(mapped):
    state, _, verdict = mapped(new_state(), host(small.batch()), StepRequest(0, stop=1.0))
    assert verdict.applied and verdict.stop and int(state.step) == 1


def test_the_program_has_one_collective_for_all_gradients():
    state = jax.eval_shape(lambda: create_state(*small.init(), OPTIMIZER))
    step = step_with(objective=PLAIN, fold=fold_trained)
    found = collectives(compiled_step(step, state, small.batch()).as_text())
    seen = jax.eval_shape(fold_trained, state.params, state.frozen)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(seen))
    large = [c for c in found if c.elements > 1]
    assert [c.kind for c in large] == ["all-reduce"], found
    # The gradients, and with them the metrics and what the hosts want.
    assert numbers < large[0].elements < numbers + 16


def test_samples_and_steps_and_seeds_draw_different_noise():
    seen = []

    def spy(params, ema, frozen, batch, keys, step):
        return jnp.float32(0) * params["w"].sum(), {
            f"draw{i}": jax.random.uniform(key) for i, key in enumerate(keys)
        }

    for seed in (0, 1):
        state = create_state({"w": jnp.zeros(1)}, {}, OPTIMIZER)
        step = one_device(step_with(objective=spy, seed=seed))
        for _ in range(2):
            state, metrics = step(state, small.batch())
            seen += [float(v) for k, v in metrics.items() if k.startswith("draw")]
    assert len(seen) == len(set(seen)) == 32


@pytest.mark.parametrize("accumulate", [1, 2])
def test_metrics_are_means_over_all_devices_and_extra_arrays_go_with_their_pairs(accumulate):
    def spy(params, ema, frozen, batch, keys, step):
        apart = jnp.abs(batch.extra["mark"] - batch.slot).max()
        return params["w"].sum(), {"slot": batch.slot.astype(jnp.float32).mean(), "apart": apart}

    step = many_devices(parallel_step(step_with(objective=spy, accumulate=accumulate)))
    state = replicate(create_state({"w": jnp.ones(2)}, {}, OPTIMIZER))
    mark = np.arange(8, dtype=np.float32)
    _, metrics = step(state, host(small.batch()._replace(extra={"mark": mark})))
    assert float(metrics["slot"]) == np.arange(8).mean() and float(metrics["apart"]) == 0
    np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(2), rtol=1e-6)


def test_adamw_and_the_average_have_their_closed_forms():
    optimizer = AdamW(learning_rate=0.1, weight_decay=0.02).build(100)
    objective = lambda params, *_: (3.0 * params["w"].sum(), {})  # noqa: E731
    step = one_device(
        functools.partial(
            train_step, objective=objective, fold=lambda params, frozen: params,
            optimizer=optimizer, ema=Ema(decay=0.75),
            seed=0, accumulate=1,
        )
    )  # fmt: skip
    state, _ = step(create_state({"w": jnp.full(2, 5.0)}, {}, optimizer), small.batch())
    # The first Adam step is lr * sign(gradient); decay is lr * weight_decay * w, apart from it.
    expected = 5.0 - 0.1 * (1.0 + 0.02 * 5.0)
    np.testing.assert_allclose(state.params["w"], expected, rtol=1e-6)
    np.testing.assert_allclose(state.ema["w"], 0.75 * 5.0 + 0.25 * expected, rtol=1e-6)


def test_the_releases_ramp():
    ema = Ema(decay=0.999, ramp_steps=2000.0)
    for n in (1, 10, 2000, 10**6):
        expected = 0.999 * (1 - np.exp(-n / 2000))
        np.testing.assert_allclose(ema.decay_at(jnp.int32(n)), expected, rtol=1e-5)
    np.testing.assert_allclose(Ema(decay=0.999).decay_at(jnp.int32(1)), 0.999)


def test_the_average_ramps_by_steps_and_the_rate_by_updates():
    """A step that is skipped counts as a step; both begin with the first."""

    def objective(params, ema, frozen, batch, keys, step):
        return params["w"].sum() * jnp.where(step == 1, jnp.nan, 1.0), {}

    rule = AdamW(learning_rate=1.0, warmup_steps=4, warmup_from=0.25, weight_decay=0.0, eps=1e-8)
    optimizer, ema = rule.build(100), Ema(decay=0.9, ramp="count")
    step = parallel_step(
        step_with(objective=objective, optimizer=optimizer, ema=ema, max_skipped_steps=1)
    )
    state = replicate(create_state({"w": jnp.zeros(1)}, {}, optimizer))
    found = []
    for number in range(3):
        state, _, _ = step(state, host(small.batch()), StepRequest(number))
        found.append((float(state.params["w"][0]), float(state.ema["w"][0])))
    w_1, w_3 = -0.25, -0.25 - 0.4375  # Adam's update is the rate, which rises by 0.1875 an update
    ema_1 = (1 - 2 / 11) * w_1
    wanted = [(w_1, ema_1)] * 2 + [(w_3, 4 / 13 * ema_1 + 9 / 13 * w_3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert (int(state.step), int(state.skipped), int(state.opt_state.updates)) == (3, 1, 2)


def test_the_ramp_by_count():
    ema = Ema(decay=0.5, ramp="count")
    found = [float(ema.decay_at(jnp.int32(n))) for n in (1, 2, 8, 100)]
    np.testing.assert_allclose(found, [2 / 11, 3 / 12, 0.5, 0.5], rtol=1e-6)


@pytest.mark.slow
def test_it_overfits_one_batch(single):
    state, losses = create_state(*small.init(), OPTIMIZER), []
    for _ in range(60):
        state, metrics = single(state, small.batch())
        losses.append(float(metrics["latent_mmse"]))
    assert losses[-1] < 0.5 * losses[0]
