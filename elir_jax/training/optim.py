"""Optimizer and exponential moving average (Table 5)."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from elir_jax.ranges import check_fields
from elir_jax.types import Params, Step

SCHEDULES = ("constant", "cosine")
RAMPS = ("exponential", "count")


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW with decoupled weight decay on every parameter, as in PyTorch.

    The learning rate rises linearly from ``warmup_from`` times itself over ``warmup_steps``, then
    stays (``constant``) or falls along half a cosine (``cosine``), to ``final_share`` of itself at
    update ``decay_steps``, or at the run's last step if that is 0. It counts updates: a run that
    skips steps ends that many updates before. Gradients are scaled to a global norm of at most
    ``clip_norm``; 0 leaves them as they are.

    ``groups`` are exceptions by top-level name of the parameters: ``{"velocity": {"learning_rate":
    1e-5}}`` changes fields of this class; ``{"velocity": {"frozen": True}}`` does not train these
    parameters, and leaves their gradients out of the norm that is clipped. Raises ValueError if a
    value is out of range.
    """

    learning_rate: float = 1e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.02
    schedule: str = "constant"
    warmup_steps: int = 0
    warmup_from: float = 0.0
    final_share: float = 0.0
    decay_steps: int = 0
    clip_norm: float = 0.0
    groups: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_fields(
            self,
            learning_rate="[0, inf)",
            b1="[0, 1)",
            b2="[0, 1)",
            eps="(0, inf)",
            weight_decay="[0, inf)",
            schedule=SCHEDULES,
            warmup_steps="[0, inf)",
            warmup_from="[0, 1]",
            final_share="[0, 1]",
            decay_steps="[0, inf)",
            clip_norm="[0, inf)",
        )
        for name in self.groups:
            self._group(name)  # raises an error if a field is wrong

    def rate(self, num_steps: int) -> optax.ScalarOrSchedule:
        """The learning rate, a function of the update's number from 0 unless it is constant."""
        first = self.warmup_from * self.learning_rate
        if self.schedule == "cosine":
            field = "decay_steps" if self.decay_steps else "num_steps"
            steps = self.decay_steps or num_steps
            if self.warmup_steps >= steps:
                raise ValueError(f"warmup_steps={self.warmup_steps}: must be below {field}")
            last = self.final_share * self.learning_rate
            return optax.warmup_cosine_decay_schedule(
                first, self.learning_rate, self.warmup_steps, steps, last
            )
        if self.warmup_steps:
            return optax.linear_schedule(first, self.learning_rate, self.warmup_steps)
        return self.learning_rate

    def build(self, num_steps: int) -> optax.GradientTransformation:
        """The optax transformation of a run of ``num_steps`` updates; its state is an OptState."""
        own = {name: self._group(name) for name in self.groups}
        rules = {name: rule and rule._at(num_steps) for name, rule in own.items()}
        others = self._at(num_steps)
        clip = optax.clip_by_global_norm(self.clip_norm) if self.clip_norm else optax.identity()

        def trained(params: Params) -> dict[str, AdamAt]:
            found = {name: rules.get(name, others) for name in params}
            return {name: rule for name, rule in found.items() if rule is not None}

        def init(params: Params) -> OptState:
            rules = trained(params)
            adam = {name: rule(0).init(params[name]) for name, rule in rules.items()}
            return OptState(jnp.zeros((), jnp.int32), adam)

        def update(grads: Params, state: OptState, params: Params) -> tuple[Params, OptState]:
            rules = trained(params)
            clipped, _ = clip.update({name: grads[name] for name in rules}, optax.EmptyState())
            updates, adam = jax.tree.map(jnp.zeros_like, grads), {}
            for name, rule in rules.items():
                updates[name], adam[name] = rule(state.updates).update(
                    clipped[name], state.adam[name], params[name]
                )
            return updates, OptState(state.updates + 1, adam)

        return optax.GradientTransformation(init, update)

    def _at(self, num_steps: int) -> "AdamAt":
        rate = self.rate(num_steps)
        return lambda update: optax.adamw(
            rate(update) if callable(rate) else rate,
            self.b1,
            self.b2,
            self.eps,
            weight_decay=self.weight_decay,
        )

    def _group(self, name: str) -> "AdamW | None":
        """The rule of a group; None if the group is frozen."""
        fields = dict(self.groups[name])
        frozen = fields.pop("frozen", False)
        if not isinstance(frozen, bool):
            raise ValueError(f"groups.{name}: frozen must be True or False, got {frozen!r}")
        if fields.keys() & {"clip_norm", "groups"}:
            raise ValueError(f"groups.{name}: a group has no clip_norm and no groups of its own")
        try:
            own = dataclasses.replace(self, groups={}, clip_norm=0.0, **fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"groups.{name}: {error}") from error
        return None if frozen else own


AdamAt = Callable[[Step | int], optax.GradientTransformation]  # by the update's number, from 0


class OptState(NamedTuple):
    """The optimizer's state. Its tree depends only on which parameters are trained.

    So a run can go on with another rate, schedule or clipping, and with other groups.
    """

    updates: Int[Array, ""]  # made so far, without skipped steps; what schedules depend on
    adam: dict[str, Any]  # moments, and how often they were updated, by top-level name


PLACE = "opt_state/"  # of the optimizer's state in the paths of a saved one
# Until commit d554c41 the tree was that of optax's chains, which depended on the rules.
_OLDER = re.compile(rf"({PLACE}(?!adam/)(?:.*?/)?0/)(mu|nu)/([^/]+)(.*)")


def carried(leaves: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Saved ``leaves`` with the optimizer's state for the rules that ``wanted`` was built for.

    Both are by path, such as ``opt_state/updates`` or ``params/head/kernel``. Moments go with their
    parameters; those of parameters that were frozen start as in a new run.
    """
    found = dict(leaves)
    for path in leaves:
        if match := _OLDER.fullmatch(path):
            place, moment, name, rest = match.groups()
            found[f"{PLACE}adam/{name}/0/{moment}{rest}"] = leaves[path]
            for count in (f"{PLACE}adam/{name}/0/count", f"{PLACE}updates"):
                found[count] = leaves[f"{place}count"]
    for path, leaf in wanted.items():
        if path.startswith(f"{PLACE}adam/") and path not in found:
            found[path] = np.zeros(leaf.shape, leaf.dtype)
    return {p: leaf for p, leaf in found.items() if p in wanted or not p.startswith(PLACE)}


def apply_gradients(
    optimizer: optax.GradientTransformation, grads: Params, opt_state: Params, params: Params
) -> tuple[Params, Params]:
    """(new parameters, new optimizer state)."""
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


@dataclasses.dataclass(frozen=True)
class Ema:
    """``ema <- d ema + (1 - d) params`` after each update.

    Without a ramp ``d = decay`` (Table 5). ``n`` is the number of the update's step, from 1; steps
    that were skipped count too. The ramp
    ``exponential`` is ``decay (1 - exp(-n / ramp_steps))`` if ``ramp_steps`` is not 0; the release
    uses 2000. The ramp ``count`` is ``min(decay, (1 + n) / (10 + n))``, that of PMRF (the default
    of torch_ema).
    """

    decay: float = 0.999
    ramp_steps: float = 0.0
    ramp: str = "exponential"

    def __post_init__(self):
        check_fields(self, decay="[0, 1)", ramp_steps="[0, inf)", ramp=RAMPS)
        if self.ramp == "count" and self.ramp_steps:
            raise ValueError("ramp=count has no ramp_steps; set ramp_steps=0")

    def decay_at(self, step: Step) -> Float[Array, ""]:
        """Decay of the ``step``-th step, counted from 1."""
        if self.ramp == "count":
            return jnp.minimum(jnp.float32(self.decay), (1.0 + step) / (10.0 + step))
        if not self.ramp_steps:
            return jnp.float32(self.decay)
        return self.decay * -jnp.expm1(-step / self.ramp_steps)

    def update(self, ema: Params, params: Params, step: Step) -> Params:
        """The average after the ``step``-th step, whose result is ``params``."""
        decay = self.decay_at(step)
        return jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, ema, params)
