"""What the fields of a dataclass may be, checked when one is made: types, ranges and choices.

A value that nobody can mean (a negative noise, NaN, text in place of a number) would otherwise
train to the end and show in the result only.
"""

import dataclasses
import numbers
import re
import sys
import typing
from typing import Any

_KINDS = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}
_NAMES = {bool: "True or False", int: "a whole number", float: "a finite number", str: "text"}
_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


def check_fields(owner: Any, **allowed: str | tuple[str, ...]) -> None:
    """Raise ValueError, naming the field, for a value of the dataclass ``owner`` that cannot be.

    Every field that is declared as bool, int, float, str or a tuple of one of these has that type,
    and its numbers are finite. ``allowed`` are intervals such as ``[0, 1)`` and ``(0, inf)``, in
    which every number of the field must lie, or a tuple of choices.
    """
    for field in dataclasses.fields(owner):
        value, several = getattr(owner, field.name), typing.get_origin(field.type) is tuple
        kinds = typing.get_args(field.type) if several else (field.type,)
        if kinds[0] not in _KINDS:
            continue  # an object that checks its own
        limit, count = allowed.get(field.name), "" if ... in kinds else f"{len(kinds)} "
        values = value if several else (value,)
        whole = isinstance(values, (tuple, list)) and (... in kinds or len(values) == len(kinds))
        if not (whole and all(_fits(one, kinds[0], limit) for one in values)):
            wanted = f"{count}values, each " if several else ""
            raise ValueError(
                f"{field.name} must be {wanted}{_said(kinds[0], limit)}, got {value!r}"
            )


def check_ascending(owner: Any, *names: str) -> None:
    """Raise ValueError, naming the field, unless its values ascend, as those of a range do."""
    for name in names:
        value = list(getattr(owner, name))
        if value != sorted(value):
            raise ValueError(f"{name} must be a range, the smaller value first, got {value}")


def check_weights(owner: Any, *names: str) -> None:
    """Raise ValueError unless these fields, or all, are weights of terms and one is above 0."""
    names = names or tuple(field.name for field in dataclasses.fields(owner))
    check_fields(owner, **dict.fromkeys(names, "[0, inf)"))
    if not any(getattr(owner, name) for name in names):
        raise ValueError(f"one of {', '.join(names)} must be above 0")


def _fits(value: Any, kind: type, limit: str | tuple[str, ...] | None) -> bool:
    if not isinstance(value, _KINDS[kind]) or isinstance(value, bool) != (kind is bool):
        return False
    if isinstance(limit, tuple):
        return value in limit
    if kind in (bool, str):
        return True
    if not abs(value) <= sys.float_info.max:  # false for NaN too
        return False
    if limit is None:
        return True
    opening, low, high, closing = _INTERVAL.fullmatch(limit).groups()
    above = value > float(low) or (opening == "[" and value == float(low))
    return above and (value < float(high) or (closing == "]" and value == float(high)))


def _said(kind: type, limit: str | tuple[str, ...] | None) -> str:
    if isinstance(limit, tuple):
        return f"one of {', '.join(limit)}"
    return f"{_NAMES[kind]} in {limit}" if limit else _NAMES[kind]
