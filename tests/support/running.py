"""A run of a model of one number, for the tests of loop, checkpoints and stopping."""

import threading

import jax
import jax.numpy as jnp
import numpy as np

from elir_jax.devices.mesh import replicate
from elir_jax.running.loop import Plan, fit
from elir_jax.running.records.checkpoint import arrange, read_newest
from elir_jax.running.records.keeping import Checkpoints
from elir_jax.running.records.writers import FOLDER, open_writers
from elir_jax.running.stopping import StopRequest
from elir_jax.training.optim import AdamW
from elir_jax.training.state import create_state
from elir_jax.training.step import Verdict
from elir_jax.types import Batch

OPTIMIZER = AdamW().build(100)


def new_state(shape=(3,)):
    return replicate(create_state({"w": jnp.zeros(shape)}, {"f": jnp.ones(2)}, OPTIMIZER))


class Numbers:
    """Data whose batches hold their own number as the image's; counted from 1."""

    def __init__(self):
        self.position = 0
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        nothing = np.zeros((2, 8, 8, 3), np.float32)
        return Batch(nothing, nothing, record=np.full(2, self.position), slot=np.arange(2))

    def close(self):
        self.closed.set()

    def get_state(self):
        return {"samples": self.position}

    def set_state(self, state):
        self.position = state["samples"]

    def after(self, state, batches):
        return {"samples": state["samples"] + batches}


def count_up(state, batch, order):
    """A step that sums the data."""
    number = float(batch.record[0])
    params = jax.tree.map(lambda w: w + number, state.params)
    metrics = {"loss": jnp.float32(number)}
    made = Verdict(jnp.bool_(True), *[jnp.bool_(False)] * 3)
    return state.replace(step=state.step + 1, params=params), metrics, made


class Workdir:
    """A run's folder; ``run`` goes on from its newest checkpoint."""

    def __init__(self, folder):
        self.folder = folder
        self.checkpoints = folder / FOLDER

    def run(
        self,
        num_steps,
        step=count_up,
        every=2,
        stop=None,
        evaluate=None,
        evaluate_every=0,
        profiler=None,
        **writing,
    ):
        state, data = new_state(), Numbers()
        saved = read_newest(self.checkpoints)
        if saved is not None:
            state = replicate(arrange(saved, state, self.checkpoints))
            data.set_state(saved.data)
        writing = {"keep": 2, "keep_every": 0, "keep_best": "", "began": 0.0} | writing
        with open_writers(
            self.folder, start=int(state.step), num_steps=num_steps, batch_size=1, **writing
        ) as writers:
            return fit(
                state, data, step, Plan(num_steps, 1, every, evaluate_every),
                writers=writers, stop=stop or StopRequest(), config={}, evaluate=evaluate,
                profiler=profiler,
            ).state  # fmt: skip

    def saved(self):
        return read_newest(self.checkpoints).step


def save(folder, *steps, **options):
    """Save a new state under each of the steps."""
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(new_state().replace(step=np.int32(step)), {"samples": step}, {"a": 1})
    checkpoints.wait()
    checkpoints.close()
