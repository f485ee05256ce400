"""What a run that a test started has written so far."""

import json
import time

import numpy as np

PATIENCE = 200  # seconds


def losses(workdir):
    """The loss of every step from 1 on, each logged once."""
    return np.array([row["loss"] for row in rows(workdir)])


def rows(workdir):
    """What was logged of every step from 1 on, each once; evaluations are left out."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    found = [row for row in lines if "loss" in row]
    assert [row["step"] for row in found] == list(range(1, len(found) + 1))
    return found


def wait_for_rows(workdir, process, count=2):
    """Return once ``process`` has logged so many steps."""
    metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + PATIENCE
    while not (metrics.exists() and metrics.read_text().count("\n") >= count):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
