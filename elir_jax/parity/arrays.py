"""Recorded arrays, by name: read them from a file, and compare with them in rows.

docs/numerics.md describes their layout: ``*_over`` for expanded networks, ``*_flat`` for collapsed
ones, ``/NAME`` for the release's tensor of that name.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from elir_jax.errors import UserError
from elir_jax.parity.table import Row, Tolerance, compare, failed

Arrays = dict[str, np.ndarray]


def read_arrays(path: Path) -> Arrays:
    """All arrays of an .npz file; pickled ones are refused. Raises UserError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # a damaged archive may raise anything
        raise UserError(f"{path}: not an .npz file of plain arrays ({error})") from error


class Recording:
    """The arrays of one kind of network, by name."""

    def __init__(self, arrays: Arrays, kind: str):
        self.arrays, self.kind = arrays, kind
        try:
            self.config = json.loads(str(self["config"]))
        except ValueError as error:
            raise UserError(f"config is not JSON: {error}") from error

    def find(self, name: str) -> np.ndarray | None:
        """The array of this kind of network, or the one for both kinds, or None."""
        return self.arrays.get(f"{name}_{self.kind}", self.arrays.get(name))

    def __getitem__(self, name: str) -> np.ndarray:
        """The same; raises UserError if it is missing."""
        array = self.find(name)
        if array is None:
            raise UserError(f"the golden file has no key {name} (or {name}_{self.kind})")
        return array

    def setting(self, *names: str):
        """A value of the configuration; raises UserError if it is missing."""
        value = self.config
        for name in names:
            if name not in value:
                raise UserError(f"the golden file's config has no {'.'.join(names)}")
            value = value[name]
        return value

    def by_parameter(self, name: str) -> Arrays:
        """All arrays ``name/PARAMETER``."""
        prefix = f"{name}_{self.kind}/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}

    def row(self, stage: str, ours, name: str, tolerance: Tolerance) -> Row:
        """Compare with the array ``name``; if it is missing, the row fails."""
        theirs = self.find(name)
        if theirs is None:
            return failed(stage, f"no key {name}", tolerance)
        return compare(stage, ours, theirs, tolerance)


def parameter_rows(
    stage: str,
    ours: Mapping[str, ArrayLike],
    theirs: Mapping[str, ArrayLike],
    tolerance: Callable[[str], Tolerance],
) -> list[Row]:
    """One row for each parameter; it fails if only one side has the parameter."""
    rows = []
    for name in [*ours, *(theirs.keys() - ours.keys())]:
        label = f"{stage} {name}"
        if name not in ours:
            rows.append(failed(label, "not a parameter of ours", Tolerance()))
        elif name not in theirs:
            rows.append(failed(label, "missing in the golden file", tolerance(name)))
        else:
            rows.append(compare(label, ours[name], theirs[name], tolerance(name)))
    return rows
