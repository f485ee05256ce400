"""The learning rate's schedule and the clipping of gradients, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sim_vae
from elir_jax.training.optim import AdamW, apply_gradients, carried


def test_the_rate_rises_linearly_and_falls_along_half_a_cosine_to_zero():
    rate = AdamW(learning_rate=2.0, schedule="cosine", warmup_steps=10).rate(110)
    np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0.0, 1.0, 2.0], atol=1e-6)
    np.testing.assert_allclose([rate(60), rate(110)], [1.0, 0.0], atol=1e-6)


def test_a_cosine_ends_where_and_as_low_as_it_is_told():
    shape = {"schedule": "cosine", "warmup_steps": 10, "warmup_from": 0.1, "final_share": 0.01}
    rate = AdamW(learning_rate=2.0, **shape).rate(110)
    np.testing.assert_allclose([rate(0), rate(5), rate(110)], [0.2, 1.1, 0.02], rtol=1e-5)
    longer = AdamW(learning_rate=2.0, **shape, decay_steps=210).rate(110)
    np.testing.assert_allclose(longer(110), 0.02 + (2.0 - 0.02) / 2, rtol=1e-5)
    with pytest.raises(ValueError, match="must be below decay_steps"):
        AdamW(schedule="cosine", warmup_steps=10, decay_steps=10).rate(110)


@pytest.mark.parametrize(
    "variant, updates", [("", {0: 1e-5, 500: 1e-4, 150_000: 1e-6}), ("release", {150_000: 1.58e-5})]
)
def test_sim_vaes_rates_are_the_papers_and_the_releases(variant, updates):
    config = sim_vae.get_config(variant)
    rate = AdamW(**config.optimizer.to_dict()).rate(config.num_steps)
    for update, expected in updates.items():
        np.testing.assert_allclose(rate(update), expected, rtol=3e-3)


def test_a_constant_rate_is_reached_after_the_warm_up_and_kept():
    rate = AdamW(learning_rate=2.0, warmup_steps=4).rate(100)
    np.testing.assert_allclose([rate(1), rate(4), rate(99)], [0.5, 2.0, 2.0])


def test_clipping_scales_all_gradients_by_their_common_norm():
    # With b1 = b2 = 0, Adam's update is g / (|g| + eps): eps shows the size of the gradient.
    optimizer = AdamW(1.0, b1=0.0, b2=0.0, eps=1.0, weight_decay=0.0, clip_norm=1.0).build(10)
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    updated, _ = apply_gradients(optimizer, grads, optimizer.init(params), params)
    np.testing.assert_allclose(
        [updated["a"][0], updated["b"][0]], [-0.6 / 1.6, -0.8 / 1.8], rtol=1e-6
    )


PARAMS = {name: {"w": jnp.full(2, 5.0)} for name in ("encoder", "head", "velocity")}
GROUPS = {"encoder": {"learning_rate": 0.01, "weight_decay": 0.0}, "velocity": {"frozen": True}}


def grouped(**fields):
    return AdamW(learning_rate=0.1, weight_decay=0.02, groups=GROUPS, **fields).build(10)


def test_groups_have_fields_of_their_own_and_a_frozen_one_stays():
    optimizer, params = grouped(), PARAMS
    state = optimizer.init(params)
    for _ in range(2):  # a constant gradient: each step of Adam is the rate times its sign
        grads = jax.tree.map(lambda w: jnp.full_like(w, 3.0), params)
        params, state = apply_gradients(optimizer, grads, state, params)
    head = 5.0
    for _ in range(2):
        head -= 0.1 * (1 + 0.02 * head)
    np.testing.assert_allclose(params["encoder"]["w"], 5.0 - 2 * 0.01, rtol=1e-6)
    np.testing.assert_allclose(params["head"]["w"], head, rtol=1e-6)
    np.testing.assert_array_equal(params["velocity"]["w"], PARAMS["velocity"]["w"])


def test_a_frozen_group_has_no_part_in_the_norm_that_is_clipped():
    optimizer = grouped(b1=0.0, b2=0.0, eps=1.0, clip_norm=1.0)
    grads = {"encoder": {"w": jnp.array([3.0, 0.0])}, "head": {"w": jnp.array([0.0, 4.0])}}
    grads["velocity"] = {"w": jnp.full(2, 1e6)}
    params, _ = apply_gradients(optimizer, grads, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(params["encoder"]["w"], [5 - 0.01 * 0.6 / 1.6, 5.0], rtol=1e-6)


def paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "cosine", "warmup_steps": 2},
        {"clip_norm": 1.0},
        {"groups": {"head": {"learning_rate": 1.0}}},
    ],
)
def test_the_states_tree_does_not_depend_on_the_rules(fields):
    one, other = (paths(AdamW(**some).build(10).init(PARAMS)) for some in ({}, fields))
    assert one.keys() == other.keys()


OLDER = {  # rules, and what optax's chains for them added to the paths
    "plain": ({}, "0", None),
    "schedule": ({"warmup_steps": 3}, "0", "2"),
    "clipping": ({"clip_norm": 1.0, "schedule": "cosine"}, "1/0", "1/2"),
    "groups": ({"groups": GROUPS}, "inner_states/{}/inner_state/0", None),
    "both": ({"clip_norm": 1.0, "groups": GROUPS}, "2/inner_states/{}/inner_state/0", None),
}


@pytest.mark.parametrize("rules", OLDER)
def test_an_older_state_is_carried_over_whatever_rules_it_was_of(rules):
    fields, place, schedule = OLDER[rules]
    wanted = {f"opt_state/{p}": a for p, a in paths(AdamW(**fields).build(10).init(PARAMS)).items()}
    older = {"step": 7} | ({f"opt_state/{schedule}/count": 7} if schedule else {})
    for name in PARAMS:
        group = name if name in fields.get("groups", {}) else "_others"
        if name in fields.get("groups", {}) and GROUPS[name].get("frozen"):
            continue
        prefix = f"opt_state/{place.format(group)}"
        older |= {f"{prefix}/count": 7}
        older |= {f"{prefix}/{m}/{name}/w": f"{m} of {name}" for m in ("mu", "nu")}
    found = carried(older, wanted)
    assert found.keys() == {"step"} | wanted.keys()
    for path in wanted:
        *_, name, _, last = path.removesuffix("/w").split("/") if "adam" in path else [path] * 3
        assert found[path] == (f"{last} of {name}" if last in ("mu", "nu") else 7), path


def test_moments_stay_with_their_parameters_and_the_newly_trained_start_afresh():
    frozen, free = AdamW(groups=GROUPS).build(10), AdamW(clip_norm=1.0).build(10)
    state = frozen.init(PARAMS)
    for _ in range(3):
        _, state = frozen.update(PARAMS, state, PARAMS)
    saved = {f"opt_state/{path}": leaf for path, leaf in paths(state).items()}
    wanted = {f"opt_state/{path}": leaf for path, leaf in paths(free.init(PARAMS)).items()}
    found = carried(saved, wanted)
    assert found.keys() == wanted.keys() and found["opt_state/updates"] == 3
    for path, leaf in found.items():
        fresh = "/velocity/" in path
        np.testing.assert_array_equal(leaf, wanted[path] if fresh else saved[path], err_msg=path)
    assert carried(found, saved).keys() == saved.keys()  # and frozen again, they are left out


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "linear"},
        {"warmup_steps": -1},
        {"clip_norm": -1.0},
        {"groups": {"head": {"clip_norm": 1.0}}},
    ],
)
def test_a_wrong_schedule_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        AdamW(**fields)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="below num_steps"):
        AdamW(schedule="cosine", warmup_steps=10).build(10)
