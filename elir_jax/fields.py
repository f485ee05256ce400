"""Make objects of a configuration's fields, with errors that name the field.

A configuration is read by attributes (``config.data.size``) and its sections as mappings, so rooms
below ``compose`` read one without its class.
"""

import json
from collections.abc import Callable
from typing import Any

from elir_jax.errors import UserError

Config = Any  # a configuration, or a section of one: an ml_collections.ConfigDict


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


def sizes(section: Config) -> dict[str, Any]:
    """The fields of a network: all but its kind and the name of the weights that it starts from."""
    return {name: value for name, value in section.items() if name not in ("kind", "weights")}


def plain(config: Config) -> dict:
    """The configuration as plain JSON values."""
    return json.loads(config.to_json_best_effort())
