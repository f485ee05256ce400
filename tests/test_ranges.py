"""Values that cannot be meant are refused where an object is made, with the field's name."""

import copy
import dataclasses
import typing

import pytest

from elir_jax.compose.data import DEGRADATIONS
from elir_jax.data.degradations.blind_super_resolution import Stage
from elir_jax.flow.path import Sampler
from elir_jax.methods.autoencoder import AutoencoderObjective
from elir_jax.methods.distillation import Distillation, StudentInput, Teacher
from elir_jax.methods.elir import ElirObjective
from elir_jax.methods.pmrf import RectifiedFlow
from elir_jax.methods.posterior_mean import PosteriorMeanObjective
from elir_jax.methods.sim_vae import SimVaeObjective
from elir_jax.networks.lora import LoRA
from elir_jax.training.optim import AdamW, Ema

OBJECTIVES = (AutoencoderObjective, Distillation, ElirObjective, PosteriorMeanObjective,
              RectifiedFlow, SimVaeObjective)  # fmt: skip
CLASSES = (
    *OBJECTIVES,
    Teacher,
    StudentInput,
    LoRA,
    AdamW,
    Ema,
    Sampler,
    Stage,
    *DEGRADATIONS.values(),
)
NUMBERS = (int, float)


def make(cls, **fields):
    """``cls(**fields)``, without the tests' own check of types."""
    made = copy.copy(cls(num_steps=3, sigma_s=0.1) if cls is Sampler else cls())
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    made.__post_init__()


def fields_of(*kinds):
    """(class, field, how many numbers: 0 for one alone) of every field of these kinds."""
    for cls in CLASSES:
        for field in dataclasses.fields(cls):
            several = typing.get_origin(field.type) is tuple
            found = typing.get_args(field.type) if several else (field.type,)
            if found[0] in kinds:
                yield cls, field.name, (2 if ... in found else len(found)) if several else 0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), "1", None, True, -3])
def test_every_number_of_a_configuration_is_finite_and_in_its_range(wrong):
    found = list(fields_of(*NUMBERS))
    assert len(found) > 60
    for cls, name, count in found:
        with pytest.raises(ValueError, match=rf"^{name} must be ") as error:
            make(cls, **{name: (wrong,) * count if count else wrong})
        assert "\n" not in str(error.value)


def test_every_switch_and_choice_is_one():
    for wrong, kinds in ((1, (bool,)), ("no", (bool,)), (1, (str,)), (None, (bool, str))):
        for cls, name, count in fields_of(*kinds):
            with pytest.raises(ValueError, match=rf"^{name} must be "):
                make(cls, **{name: (wrong,) * count if count else wrong})
    for cls, name, count in fields_of(str):
        if not count:
            with pytest.raises(ValueError, match=rf"^{name} must be one of "):
                make(cls, **{name: "no such choice"})


@pytest.mark.parametrize(
    "cls, fields",
    [
        (ElirObjective, {"sigma_min": 7.0}),
        (ElirObjective, {"dt": 1.0}),
        (ElirObjective, {"num_segments": 1.5}),
        (ElirObjective, {"segment_weights": (0.0,) * 5}),
        (ElirObjective, {"segment_weights": (2.0, -1.0, 1.0, 1.0, 1.0)}),
        (ElirObjective, {"segment_weights": 1.0}),
        (AdamW, {"b1": 1.0}),
        (AdamW, {"b2": 1.5}),
        (AdamW, {"eps": 0.0}),
        (AdamW, {"groups": {"head": {"learning_rate": -1e-4}}}),
        (AdamW, {"groups": {"head": {"b1": float("nan")}}}),
        (AdamW, {"groups": {"head": {"frozen": "no"}}}),
        (Ema, {"decay": 1.0}),
        (Distillation, {"band": (0.3, 0.2)}),
        (DEGRADATIONS["difface"], {"blur": (3.0, 2.0)}),
        (DEGRADATIONS["blind_face_restoration"], {"share": (0.1, 0.5, 1.0)}),
        (DEGRADATIONS["blind_face_restoration"], {"quality": (30, 101)}),
        (DEGRADATIONS["blind_face_restoration"], {"noise": (5.0,)}),
        (Stage, {"shape_probabilities": (1.5, -0.5, 0.0, 0.0, 0.0, 0.0)}),
    ],
)
def test_what_lies_outside_a_range_is_named(cls, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        make(cls, **fields)


def test_without_a_weight_above_zero_nothing_would_be_learned():
    for cls in (AutoencoderObjective, SimVaeObjective):
        zeros = dict.fromkeys((field.name for field in dataclasses.fields(cls)), 0.0)
        with pytest.raises(ValueError, match="must be above 0"):
            make(cls, **zeros)
