"""Two real processes on this machine: the same run as one, and a signal to either ends both."""

import re
import shlex
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from commanding import Command
from measured import figures_of
from PIL import Image
from rounding import norm_of_difference, parameters_apart, reordered
from watching import losses, rows, wait_for_rows

from elir_jax.running.records.best import read_best
from elir_jax.running.records.checkpoint import read, steps_in
from elir_jax.running.records.report import read_evaluations

pytestmark = pytest.mark.slow  # two processes for most tests

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/autoencoder.py:tiny"  # the quickest to compile, with a collective of its own
STEPS = 20
# A constant rate, and an eps that keeps rounding small (tests/support/rounding.py).
RATE = EPS = 1e-3
OPTIMIZER = {"learning_rate": RATE, "eps": EPS, "schedule": "constant", "warmup_steps": 0,
             "clip_norm": 0.0}  # fmt: skip
# A loss that is never negative, so that tolerances can be shares of it.
OBJECTIVE = {"log_mse_weight": 0.0, "mse_weight": 10.0, "gradient_weight": 0.05,
             "latent_weight": 0.01}  # fmt: skip
ERROR = reordered(4 * 64 * 64 * 3)  # values in a batch
# Gloo's greeting, in the pieces that it writes: several threads do so at once, and the pieces mix.
GREETING = re.compile(
    r"\[Gloo\] Rank | is connected to | peer ranks\. |"
    r"Expected number of connected peer ranks is : |\d+|\n"
)


def start(workdir, *options, script="train.py", devices=1, steps=STEPS):
    words = [
        *("python", script, "--config", CONFIG, f"--workdir={workdir}", *options),
        *(f"--config.num_steps={steps}", "--config.log_every=1"),
        *("--config.evaluate_every=10", "--config.keep_best=restored.psnr"),
        *(f"--config.optimizer.{field}={value}" for field, value in OPTIMIZER.items()),
        *(f"--config.objective.{field}={value}" for field, value in OBJECTIVE.items()),
    ]
    return Command(shlex.join(words), ROOT, devices=devices, apart=True)


def start_two(workdir, *options, second=(), **how):
    """Both processes; ``second`` are options of the second one alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    join = [f"--coordinator=127.0.0.1:{port}", "--num-processes=2"]
    return [
        start(workdir, *join, f"--process-id={i}", *options, *own, devices=2, **how)
        for i, own in enumerate(((), second))
    ]


def end(*processes, code=0):
    results = [process.communicate(timeout=300) for process in processes]
    for process, (out, err) in zip(processes, results, strict=True):
        assert process.returncode == code, (out, err)
    return [out for out, _ in results], [err for _, err in results]


def figures(workdir):
    return figures_of(workdir)["restored"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run on one device, on four, and on two processes with two each."""
    folder = tmp_path_factory.mktemp("runs")
    end(start(folder / "one"))
    end(start(folder / "four", devices=4))
    (first, second), _ = end(*start_two(folder / "two"))
    assert "restored" in first
    assert not GREETING.sub("", second)
    return folder


def agree(workdir, other, steps):
    """Two runs are apart by no more than rounding explains; how much that is of the last loss."""
    ours, theirs = rows(workdir), rows(other)
    assert len(ours) == len(theirs) == steps
    np.testing.assert_allclose(ours[0]["grad_norm"], theirs[0]["grad_norm"], rtol=ERROR)
    steepest = max(row["grad_norm"] for row in theirs)

    def apart(steps):
        return parameters_apart(steps, RATE, EPS, steepest, ERROR)

    for row, expected in zip(ours, theirs, strict=True):
        slack = ERROR * expected["loss"] + steepest * apart(expected["step"] - 1)
        assert abs(row["loss"] - expected["loss"]) <= slack, expected["step"]
    states = [read(folder / "checkpoints" / str(steps)).tree for folder in (workdir, other)]
    for tree in ("params", "ema"):
        assert norm_of_difference(*(state[tree] for state in states)) <= apart(steps), tree
    return slack / expected["loss"]


def test_training_is_the_same_on_one_device_on_four_and_on_two_hosts(runs):
    for name in ("four", "two"):
        tolerance = agree(runs / name, runs / "one", STEPS)
        for metric, value in figures(runs / name).items():
            np.testing.assert_allclose(value, figures(runs / "one")[metric], rtol=tolerance)
        for step, stages in read_evaluations(runs / "one").items():
            for metric, value in read_evaluations(runs / name)[step]["restored"].items():
                np.testing.assert_allclose(value, stages["restored"][metric], rtol=tolerance)
        assert list(read_evaluations(runs / name)) == [10, 20]
        assert figures(runs / name) == read_evaluations(runs / name)[20]["restored"]
        assert read_best(runs / name / "checkpoints").step in (10, 20)


def test_a_checkpoint_goes_on_on_any_other_machine(runs, tmp_path):
    more = STEPS + 4
    plans = {"one": 2, "two": 1, "four": 1}  # from -> how many processes go on
    for source, processes in plans.items():
        workdir = tmp_path / source
        shutil.copytree(runs / source, workdir)
        started = start_two(workdir, steps=more) if processes == 2 else [start(workdir, steps=more)]
        outs, _ = end(*started)
        assert f"at step {STEPS}" in outs[0]
    for source in plans:
        agree(tmp_path / source, tmp_path / "four", more)
        assert read(tmp_path / source / "checkpoints" / str(more)).data == {"samples": 4 * more}


def test_evaluation_gives_the_same_figures_whatever_the_devices(runs, tmp_path):
    images = tmp_path / "images"  # five: divided by neither three nor four devices, nor two hosts
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (150, 140, 3), np.uint8)).save(images / f"{i}.png")
    options = (f"--config.data.eval_path={images}", "--config.evaluation.batch_size=2")
    workdir, found = tmp_path / "run", []
    shutil.copytree(runs / "one", workdir)  # other tests look at its figures
    for devices in (1, 3, 4):
        end(start(workdir, *options, script="evaluate.py", devices=devices))
        found.append(figures(workdir))
    end(*start_two(workdir, *options, script="evaluate.py"))
    found.append(figures(workdir))
    # Every device works on two images at a time by the same program, whatever their number is.
    for metric in found[0]:
        values = [f[metric] for f in found]
        np.testing.assert_allclose(values, values[0], rtol=1e-6)


def test_a_signal_to_one_of_two_hosts_ends_both_at_the_same_step(tmp_path):
    first, second = start_two(tmp_path, steps=100_000)
    try:
        wait_for_rows(tmp_path, first)
        second.send_signal(signal.SIGTERM)
        (out, _), (_, err) = end(first, second, code=143)
    finally:
        first.kill(), second.kill()
    assert "stopping after this step" in err and "Traceback" not in err
    (*_, newest) = steps_in(tmp_path / "checkpoints")
    assert f"stopped by SIGTERM: saved step {newest}" in out
    assert len(losses(tmp_path)) == newest  # nothing that was made is lost


def test_a_mistake_of_the_first_host_is_told_on_both(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the place of a folder")
    outs, errs = end(*start_two(tmp_path / "checkpoints"), code=2)
    for err in errs:
        assert [line for line in err.splitlines() if line.startswith("error: ")], err


@pytest.mark.parametrize(
    "second, first_says, second_says",
    [
        ("--config.data.path=/absent", "process 1 could not continue", "/absent: no such folder"),
        (
            "--config.seed=1",
            "process 1 differs from process 0 in its configuration or images: seed: 0 -> 1; start",
            "process 1 differs",
        ),
        (
            "--config.max_skipped_steps=2",
            "max_skipped_steps: 0 -> 2; start all with the same",
            "0 -> 2",
        ),
    ],
)
def test_a_mistake_of_the_second_host_alone_ends_both(tmp_path, second, first_says, second_says):
    _, errs = end(*start_two(tmp_path, second=[second]), code=2)
    for err, words in zip(errs, (first_says, second_says), strict=True):
        assert words in err and "Traceback" not in err


def test_half_a_command_line_is_one_line(tmp_path):
    _, (err,) = end(start(tmp_path, "--coordinator=127.0.0.1:1"), code=2)
    assert "--num-processes" in err and "--distributed" in err
    _, (err,) = end(start(tmp_path, "--distributed"), code=2)
    assert err.startswith("error: ") and len(err.splitlines()) == 1
