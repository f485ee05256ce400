"""Make objects of configuration fields, with errors that name the field."""

import json
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from elir_jax.errors import UserError
from elir_jax.flow.path import Sampler


def choose(table: dict[str, Any], field: str, name: str) -> Any:
    """The entry ``name`` of the table. Raises a UserError that lists the choices."""
    if name not in table:
        raise UserError(f"--config.{field}={name}: unknown; one of {', '.join(sorted(table))}")
    return table[name]


def make(cls: Callable[..., Any], section: str, fields: Any, **extra: Any) -> Any:
    """``cls(**fields, **extra)``; an unknown field or a bad value becomes a UserError."""
    try:
        return cls(**fields, **extra)
    except (TypeError, ValueError) as error:
        raise UserError(f"--config.{section}: {error}") from error


def sizes(section: ConfigDict) -> dict[str, Any]:
    """The fields of a network: all but its kind and the name of the weights that it starts from."""
    return {name: value for name, value in section.items() if name not in ("kind", "weights")}


def check_whole(sampler: Sampler) -> None:
    """Raise UserError if a method that has no such knob is asked for a part of the full sample."""
    if sampler.fidelity != 1:
        raise UserError(
            f"--config.sampler.fidelity={sampler.fidelity}: only the method elir has a fidelity; "
            f"leave it at 1"
        )


def plain(config: ConfigDict) -> dict:
    """The configuration as plain JSON values."""
    return json.loads(config.to_json_best_effort())
