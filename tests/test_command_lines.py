"""Both command lines, as a user types them: train, stop, resume, evaluate, and mistakes."""

import json
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from commanding import Command, start
from measured import evaluation_of, evaluations, figures_of
from PIL import Image
from watching import losses, wait_for_rows

from elir_jax.running.records.checkpoint import read
from elir_jax.running.records.digests import leaf_digests

pytestmark = pytest.mark.slow  # a process for every command

ROOT = Path(__file__).resolve().parents[1]
STEPS = 12


def command(script, *options):
    return Command(shlex.join(["python", script, *options]), ROOT, apart=True)


def run(script, *options):
    process = command(script, *options)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def train_options(workdir, steps=STEPS):
    return (
        "--config", "configs/quickstart.py:tiny", "--workdir", str(workdir),
        f"--config.num_steps={steps}", "--config.log_every=1", "--config.checkpoint_every=5",
        "--config.velocity.channel_multipliers=(1, 2)",  # half as much to compile
    )  # fmt: skip


def final(workdir, steps):
    return read(workdir / "checkpoints" / str(steps))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("whole")
    code, out, err = run("train.py", *train_options(workdir))
    assert code == 0, err
    return workdir, out, err


def test_training_trains_evaluates_and_writes_everything(whole):
    workdir, out, err = whole
    rows = figures_of(workdir, f"step-{STEPS}")
    steps = ["step_1", "step_2", "step_3"]
    assert list(rows) == ["input", "latent_mmse", "latent_mmse_noisy", *steps, "restored"]
    assert all(set(row) == {"psnr", "ssim"} for row in rows.values())
    table = [line.split()[0] for line in out.splitlines() if line]
    assert [name for name in table if name in rows] == list(rows)
    assert (workdir / "loss.png").is_file() and any((workdir / "tensorboard").iterdir())
    with Image.open(workdir / "evaluation" / f"step-{STEPS}" / "grid.png") as grid:
        assert grid.width > 4 * 128
    first = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])
    terms = {"latent_mmse", "consistency", "grad_norm", "update_norm", "param_norm"}
    assert terms <= first.keys()
    assert len(losses(workdir)) == STEPS
    assert losses(workdir)[-3:].mean() < losses(workdir)[:3].mean()
    assert f"{STEPS}/{STEPS}" in err  # the progress bar


def test_evaluating_again_gives_the_same_figures(whole):
    workdir, _, _ = whole
    code, out, err = run("evaluate.py", "--workdir", str(workdir))
    assert code == 0, err
    assert "restored" in out and f"step {STEPS}" in out
    assert evaluations(workdir) == [f"step-{STEPS}"]  # the same file, of which one is enough


def test_a_flag_that_belongs_to_the_weights_is_refused_or_told(whole):
    """The settings of a run are those that it was trained with, whatever a command line says."""
    workdir, own = ("--workdir", str(whole[0])), ("--config", "configs/quickstart.py:tiny")
    one = "--config.objective.num_segments=1"
    one_line("evaluate.py", (*workdir, one), "objective.num_segments: 3 -> 1", "--allow-config")
    one_line("evaluate.py", (*own, *workdir, one), "num_segments: 3 -> 1", "channel_multipliers")
    other = ("--config", "configs/super_resolution.py:tiny")
    one_line("evaluate.py", (*other, *workdir), 'degradation.name: "denoising" -> "super_res')
    one_line("evaluate.py", (*workdir, "--config.sampler.stps=1"), "unknown config field", "stps")

    sweep = (*workdir, "--config.sampler.num_steps", "1", "--allow-config-change")
    code, out, err = run("evaluate.py", *sweep)
    assert code == 0, err
    assert "M = 1" in out and "changed: sampler.num_steps: 0 -> 1" in out
    name = f"step-{STEPS}-sampler.num_steps-1"
    found = evaluation_of(whole[0], name)
    assert found["changed"] == {"sampler.num_steps": "0 -> 1"} and found["num_steps"] == 1
    assert found["configuration"]["sampler"]["num_steps"] == 1
    assert "step_2" not in found["figures"] and len(found["rows"]) == found["pictures"] == 2
    assert (
        "sampler.num_steps: 0 -&gt; 1"
        in (whole[0] / "evaluation" / name / "report.html").read_text()
    )
    one_line("evaluate.py", (*workdir, f"--name={name}"), name, "choose another --name")
    shutil.rmtree(whole[0] / "evaluation" / name)


def test_a_trained_run_is_converted_and_evaluates_the_same(whole, tmp_path):
    module, file, back = "elir_jax.interop.convert", tmp_path / "elir.safetensors", tmp_path / "run"
    for source, target in ((whole[0], file), (file, back)):
        code, out, err = run("-m", module, str(source), str(target))
        assert code == 0, err
    # The release's layout holds no pretrained encoder; evaluation wants none.
    code, out, err = run("evaluate.py", *train_options(back))
    assert code == 0 and "converted weights" in out, err
    assert figures_of(whole[0]) == figures_of(back)
    assert "hold only the trained encoder" in out


def test_ctrl_c_saves_and_the_same_command_ends_where_an_undisturbed_run_ends(whole, tmp_path):
    stopped, undisturbed = tmp_path / "stopped", tmp_path / "undisturbed"
    process = command("train.py", *train_options(stopped, steps=10_000))
    try:
        wait_for_rows(stopped, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "stopped by SIGINT: saved step" in out and "Traceback" not in err
    saved = int(out.split("saved step ")[1].split()[0])

    shutil.copytree(whole[0], undisturbed)
    plans, target = [(stopped, saved)], STEPS
    if saved >= STEPS:  # the machine was slow to deliver the signal
        plans, target = [*plans, (undisturbed, STEPS)], saved + 2
    for workdir, first in plans:
        code, out, err = run("train.py", *train_options(workdir, steps=target))
        assert code == 0, err
        assert f"at step {first}" in out
    assert len(losses(stopped)) == len(losses(undisturbed)) == target
    np.testing.assert_array_equal(losses(stopped), losses(undisturbed))
    ours, theirs = final(stopped, target), final(undisturbed, target)
    assert ours.data == theirs.data == {"samples": 4 * target}
    assert leaf_digests(ours.leaves) == leaf_digests(theirs.leaves)


def one_line(script, options, *words):
    """The command ends with one line, in which these words are."""
    code, said = start(shlex.join(["python", script, *options]), ROOT)
    assert code == 2, (code, said)
    (message,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert "Traceback" not in said
    for word in words:
        assert word in message, message


def test_a_checkpoint_of_another_network_is_refused(whole):
    wider = ("--config.estimator.hidden=24",)
    options = (*train_options(whole[0]), *wider)
    one_line("evaluate.py", options, "estimator.hidden: 16 -> 24", "--allow-config-change")
    allowed = (*options, "--allow-config-change")
    one_line("evaluate.py", allowed, "another network", "estimator")
    one_line(
        "train.py", options, "estimator.hidden: 16 -> 24", "--workdir", "--allow-config-change"
    )


def test_mistakes_in_options_are_one_line(tmp_path):
    quick = ("--config", "configs/quickstart.py:tiny", f"--workdir={tmp_path}")
    one_line("train.py", (*quick, "--config.bach_size=4"), "bach_size")
    one_line("train.py", (*quick, "--config.data.pth=x"), "pth")
    one_line("train.py", (*quick, "--config.batch_size=many"), "batch_size", "many")
    one_line("train.py", (*quick, "--workdr=x"), "workdr")
    one_line("train.py", (), "--config")
    one_line("train.py", (*quick[:2], "--workdir=hdfs://a/run"), "hdfs://a/run", "gs:// or s3://")
    assert not (ROOT / "gs:").exists()
    pairs = ("--lq=a", "--hq=b", "--checkpoint=c")
    one_line("evaluate.py", (*pairs, "--distributed"), "--lq --hq", "remove --distributed")
    one_line("train.py", ("--config", "configs/quickstrt.py"), "quickstrt", "quickstart.py")
    one_line("train.py", ("--config", "configs/quickstart.py:huge"), "huge", "tiny")
    mine = tmp_path / "mine.py"
    mine.write_text("from configs import common\nimport nothere\n")
    one_line("train.py", ("--config", str(mine)), "nothere", f"({mine}, line 2)")
    one_line("train.py", (*quick, "--WORKDIR=x"), "--WORKDIR", "did you mean --workdir?")
    one_line("train.py", (f"--flagfile={tmp_path / 'absent'}",), str(tmp_path / "absent"))


def test_mistakes_in_data_are_one_line(tmp_path):
    quick = ("--config", "configs/quickstart.py:tiny", f"--workdir={tmp_path / 'run'}")
    absent = tmp_path / "absent"
    one_line("train.py", (*quick, f"--config.data.path={absent}"), str(absent))
    empty = tmp_path / "empty"
    empty.mkdir()
    one_line("train.py", (*quick, f"--config.data.path={empty}"), str(empty), "no images")
    for i in range(4):
        Image.new("RGB", (40, 40)).save(empty / f"{i}.png")
    one_line("train.py", (*quick, f"--config.data.path={empty}"), "40x40", "128x128", ".png")
    sizes = ("--config.data.size=64", "--config.evaluation.size=32")
    one_line("train.py", (*quick, f"--config.data.path={empty}", *sizes), "40x40", "64x64", ".png")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"no")
    one_line("train.py", (*quick, f"--config.autoencoder.weights={weights}"), str(weights))
    one_line("evaluate.py", quick, "neither checkpoints nor", "run's folder")
    one_line("evaluate.py", (), "--config configs/NAME.py", "--workdir or --checkpoint")
    one_line("train.py", (*quick[:2], f"--workdir={weights}"), str(weights), "--workdir")
