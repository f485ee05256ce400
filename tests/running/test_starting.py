"""Where a run begins: what may have changed since it was stopped, and what may not."""

import json
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from test_configs import load

from elir_jax import compose
from elir_jax.commands import conversion, evaluating
from elir_jax.compose.restoration import build_restoration
from elir_jax.compose.subject import find_subject
from elir_jax.errors import UserError
from elir_jax.running import starting
from elir_jax.running.records.best import Best, write_best
from elir_jax.running.records.checkpoint import write
from elir_jax.running.starting import begin


def run_with(**changes):
    config = load("autoencoder", "tiny").unlock()
    config.update(optimizer={"schedule": "constant", "warmup_steps": 0, "clip_norm": 0.0})
    config.update(changes)
    return compose.build(config)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a checkpoint at step 5."""
    workdir, run = tmp_path_factory.mktemp("saved"), run_with()
    state = run.init_state(workdir).replace(step=np.int32(5))
    folder = workdir / "checkpoints"
    write(folder, 5, jax.tree.map(np.asarray, state), {"samples": 20}, run.config)
    return workdir


@pytest.fixture(autouse=True)
def unlocked(request, monkeypatch):
    """One process begins many runs here, and would lock itself out."""
    if "alone" not in request.node.name:
        monkeypatch.setattr(starting, "lock", lambda workdir: None)


def test_a_run_begins_where_it_was_saved_or_afresh(saved, tmp_path):
    state, position = begin(run_with(), saved, False)
    assert int(state.step) == 5 and position == {"samples": 20}
    state, position = begin(run_with(), tmp_path, False)
    assert int(state.step) == 0 and position is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"seed": 1}, ["seed: 0 -> 1"]),
        ({"optimizer": {"b2": 0.9}}, ["optimizer.b2: 0.99 -> 0.9"]),
        ({"optimizer": {"clip_norm": 1.0}}, ["optimizer.clip_norm: 0.0 -> 1.0"]),
        ({"optimizer": {"schedule": "cosine", "warmup_steps": 9}}, ['"constant" -> "cosine"']),
        ({"optimizer": {"groups": {"encoder": {"frozen": True}}}}, ["groups.encoder.frozen"]),
        ({"batch_size": 8, "dtype": "bfloat16"}, ["batch_size: 4 -> 8; dtype", '"bfloat16"']),
    ],
)
def test_another_configuration_is_refused_with_every_difference(saved, changes, words):
    with pytest.raises(UserError) as error:
        begin(run_with(**changes), saved, False)
    text = str(error.value)
    assert all(word in text for word in [*words, "step 5", "--allow-config-change"]), text
    assert int(begin(run_with(**changes), saved, True)[0].step) == 5


def test_what_does_not_change_the_training_may_differ(saved):
    changes = {"num_steps": 99, "log_every": 7, "checkpoint_every": 3, "keep_every": 9}
    changes |= {"data": {"workers": 2, "on_error": "skip"}, "evaluation": {"batch_size": 1}}
    assert int(begin(run_with(**changes), saved, False)[0].step) == 5


FALLING = {"schedule": "cosine"}


@pytest.mark.parametrize(
    "optimizer, free",
    [
        (FALLING, False),
        (FALLING | {"decay_steps": 40}, True),
        ({"groups": {"decoder": FALLING}}, False),
        ({"groups": {"decoder": FALLING | {"decay_steps": 40}}}, True),
        ({"groups": {"decoder": FALLING | {"frozen": True}}}, True),
        (FALLING | {"decay_steps": 40, "groups": {"decoder": {"decay_steps": 0}}}, False),
    ],
)
def test_the_last_step_may_not_move_where_a_learning_rate_falls_to_it(optimizer, free):
    here, there = (run_with(num_steps=steps, optimizer=optimizer).config for steps in (20, 30))
    assert starting.differences(here, there) == ([] if free else ["num_steps: 20 -> 30"])


def test_a_configuration_from_before_the_schedules_means_a_constant_rate():
    config = run_with().config
    fields = {"b1", "b2", "eps", "learning_rate", "weight_decay"}
    before = {name: config["optimizer"][name] for name in fields}
    assert starting.differences(config | {"optimizer": before}, config) == []
    warm = run_with(optimizer={"warmup_steps": 3}).config
    assert starting.differences(config | {"optimizer": before}, warm) == [
        "optimizer.warmup_steps: 0 -> 3"
    ]


def photographs(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (160, 160)).save(folder / f"{name}.png")
    return {"data": {"path": str(folder), "held_out": 1}}


def test_the_same_images_elsewhere_go_on_and_others_are_refused(tmp_path):
    run = run_with(**photographs(tmp_path / "here", "abc"))
    state = run.init_state(tmp_path).replace(step=np.int32(1))
    folder = tmp_path / "checkpoints"
    write(folder, 1, jax.tree.map(np.asarray, state), {"samples": 4}, run.config)
    begin(run_with(**photographs(tmp_path / "there", "abc")), tmp_path, False)
    with pytest.raises(UserError, match=r"training_images\.images: 2 -> 3"):
        begin(run_with(**photographs(tmp_path / "more", "abcd")), tmp_path, False)
    with pytest.raises(UserError, match=r'training_images\.names: "\w+" -> "\w+"'):
        begin(run_with(**photographs(tmp_path / "other", "abd")), tmp_path, False)


@pytest.mark.parametrize("second, words", [(9, "step 9, process 0 sees step 5"), (5, ""), (-1, "")])
def test_a_newer_checkpoint_that_only_another_host_sees_is_no_fresh_start(
    saved, monkeypatch, second, words
):
    both = lambda rows: np.stack([rows, np.full_like(rows, second)])  # noqa: E731
    monkeypatch.setattr(starting.hosts, "gather", both)
    monkeypatch.setattr(starting.hosts, "check_same", lambda *_: None)
    if not words:
        assert int(begin(run_with(), saved, False)[0].step) == 5
        return
    with pytest.raises(UserError, match=words):
        begin(run_with(), saved, False)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"max_skipped_steps": 2}, "max_skipped_steps: 0 -> 2"),
        ({"evaluation": {"batch_size": 3}}, r"evaluation.batch_size: \d -> 3"),
        ({"keep_best": "restored.psnr", "evaluate_every": 5}, 'keep_best: "" -> "restored.psnr"'),
        ({"num_steps": 7, "log_every": 3}, "log_every: .*; num_steps: .* -> 7; start all"),
        ({"data": {"on_error": "skip"}}, 'data.on_error: "raise" -> "skip"'),
    ],
)
def test_hosts_agree_also_in_what_may_change_when_a_run_is_resumed(
    tmp_path, monkeypatch, changes, words
):
    with_second(monkeypatch, run_with(**changes).config)
    with pytest.raises(UserError, match=f"process 1 differs .* configuration or images: .*{words}"):
        starting.check_hosts(run_with().config)


def test_hosts_are_compared_when_they_train(tmp_path, monkeypatch):
    run = run_with()
    with_second(monkeypatch, run.config | {"max_skipped_steps": 2})
    with pytest.raises(UserError, match="max_skipped_steps: 0 -> 2"):
        begin(run, tmp_path, False)


def test_hosts_may_have_their_images_in_different_places(tmp_path, monkeypatch):
    runs = [run_with(**photographs(tmp_path / name, "abc")) for name in ("here", "there")]
    with_second(monkeypatch, runs[1].config)
    starting.check_hosts(runs[0].config)
    with_second(monkeypatch, run_with(**photographs(tmp_path / "other", "abd")).config)
    with pytest.raises(UserError, match="training_images.names"):
        starting.check_hosts(runs[0].config)


def test_hosts_have_the_same_held_out_images(tmp_path, monkeypatch):
    """Of others, figures would be means over a mixture."""
    places = [photographs(tmp_path / name, name)["data"]["path"] for name in ("abc", "abd")]
    runs = [run_with(data={"eval_path": place}) for place in places]
    assert runs[0].config.keys() == runs[1].config.keys()
    with_second(monkeypatch, runs[1].config | {"held_out": runs[1].about["held_out"]})
    with pytest.raises(UserError, match=r'held_out: "\w+" -> "\w+"; start all'):
        begin(runs[0], tmp_path, False)


def test_an_evaluation_asks_hosts_too(tmp_path, monkeypatch):
    measuring = SimpleNamespace(about={"held_out": "here"}, evaluate=None)
    monkeypatch.setattr(evaluating, "find_subject", lambda *_, **__: SimpleNamespace(title=""))
    monkeypatch.setattr(evaluating, "_measuring", lambda subject: measuring)
    with_second(monkeypatch, {"held_out": "there"})
    with pytest.raises(UserError, match='its held-out images: held_out: "here" -> "there"'):
        evaluating.on_held_out(
            evaluating.Asked(tmp_path, "", None), evaluating.Weights(tmp_path, None, (), False)
        )


def with_second(monkeypatch, config):
    """As if there were another process, of this configuration."""
    fields = {name: v for name, v in starting.flatten(config).items() if name not in starting.LOCAL}
    theirs = np.frombuffer(json.dumps(fields, sort_keys=True).encode(), np.uint8)

    def gather(own):
        if not own.ndim:  # lengths
            return np.asarray([own, len(theirs)])
        return np.stack([own, np.pad(theirs, (0, len(own) - len(theirs)))])

    monkeypatch.setattr(starting.hosts, "gather", gather)


def test_a_host_that_sees_a_checkpoint_where_the_first_sees_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(starting.hosts, "gather", lambda rows: np.stack([rows, rows + 7]))
    with pytest.raises(UserError, match="process 1 sees a checkpoint of step 6, process 0 sees n"):
        starting.check_newest(tmp_path)


def test_where_a_run_starts_is_said(tmp_path):
    def said(*how):
        return starting.how_it_starts(tmp_path, *how)

    assert "at step 0" in said(0, False, 20)
    assert said(20, True, 20) == f"resuming {tmp_path} at step 20"
    assert "step 20 already, beyond --config.num_steps=10" in said(20, True, 10)


def test_a_folder_is_one_runs_alone(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from elir_jax.running.records.workdir import lock\n"
        "lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"in use by another run \(process {holder.pid} on "):
            begin(run_with(), tmp_path, False)
    finally:
        holder.kill()
        holder.communicate()
    state, _ = begin(run_with(), tmp_path, False)  # however it ended, the folder is free
    assert int(state.step) == 0


@pytest.mark.slow
def test_any_checkpoint_is_evaluated_and_restored_with_by_its_name(tmp_path):
    run, folder = run_with(), tmp_path / "checkpoints"
    for step in (5, 6):
        state = jax.tree.map(np.asarray, run.init_state(tmp_path).replace(step=np.int32(step)))
        ema = jax.tree.map(lambda leaf, step=step: np.full_like(leaf, step), state.ema)
        write(folder, step, state.replace(ema=ema), {"samples": 0}, run.config)
    write_best(folder, Best(5, "restored.psnr", 20.0))

    def first(tree):
        return float(jax.tree.leaves(tree)[0].ravel()[0])

    for name, wanted in (("5", 5), ("6", 6), ("best", 5)):
        subject = find_subject(folder / name, None, ())
        assert subject.step == first(subject.weights[0]) == wanted
        restoration = build_restoration(folder / name)
        assert restoration.title == f"step {wanted}" and first(restoration.params) == wanted
        assert conversion.load(folder / name)[0] == f"averaged weights of step {wanted}"
    assert find_subject(tmp_path, None, ()).step == 6
    with pytest.raises(UserError, match=r"checkpoints/7: no such file or folder.*train first"):
        find_subject(folder / "7", None, ())
