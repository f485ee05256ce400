"""The table of a comparison: each stage with its errors, its tolerance and the verdict."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """How far two arrays may differ: ``absolute + relative * largest magnitude``."""

    absolute: float = 0.0
    relative: float = 0.0

    def __str__(self):
        parts = [f"{self.absolute:.1e}"] if self.absolute else []
        return " + ".join(parts + ([f"{self.relative:.0e} rel"] if self.relative else []))


class Row(NamedTuple):
    """One comparison; if there was nothing to compare, errors are NaN and ``note`` says why."""

    stage: str
    shape: tuple[int, ...]
    max_abs_error: float
    relative_error: float  # relative to the largest magnitude
    tolerance: Tolerance
    passed: bool
    note: str = ""


def compare(stage: str, ours, theirs, tolerance: Tolerance) -> Row:
    """Compare two arrays; different shapes and values that are not finite fail."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        return failed(stage, f"ours has shape {ours.shape}", tolerance, theirs.shape)
    error = float(np.max(np.abs(ours - theirs), initial=0.0))
    size = float(np.max(np.abs(theirs), initial=0.0))
    relative = error / size if size else (0.0 if error == 0 else np.inf)
    bound = tolerance.absolute + tolerance.relative * size
    return Row(stage, theirs.shape, error, relative, tolerance, bool(error <= bound))


def failed(stage: str, note: str, tolerance: Tolerance, shape: tuple[int, ...] = ()) -> Row:
    """A failed row without a comparison."""
    return Row(stage, shape, float("nan"), float("nan"), tolerance, False, note)


def print_table(rows: list[Row]) -> None:
    """Print all rows, then the failed ones again, then the count."""
    width = max(len(row.stage) for row in rows)
    print(f"{'stage':<{width}}  {'shape':<18} {'max abs':>9} {'relative':>9}  tolerance")
    for row in rows:
        print(_line(row, width))
    bad = [row for row in rows if not row.passed]
    if bad:
        print("\nfailed:")
        for row in bad:
            print(_line(row, width))
    print(f"\n{len(rows) - len(bad)} of {len(rows)} pass")


def _line(row: Row, width: int) -> str:
    shape = "x".join(map(str, row.shape)) or "scalar"
    verdict = "pass" if row.passed else "FAIL"
    return (
        f"{row.stage:<{width}}  {shape:<18} {row.max_abs_error:>9.2e} {row.relative_error:>9.2e}  "
        f"{row.tolerance!s:<18} {verdict} {row.note}"
    ).rstrip()


def write_json(path: Path, rows: list[Row], **more) -> None:
    """Write the rows and ``more`` as JSON; errors that are not finite become null."""

    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    listed = [
        row._asdict()
        | {
            "tolerance": row.tolerance._asdict(),
            "max_abs_error": number(row.max_abs_error),
            "relative_error": number(row.relative_error),
        }
        for row in rows
    ]
    content = {"passed": all(row.passed for row in rows), **more, "rows": listed}
    path.write_text(json.dumps(content, indent=1) + "\n")
