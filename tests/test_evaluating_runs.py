"""What an evaluation is of: the weights' own configuration and images, and what was changed."""

import json

import jax
import numpy as np
import pytest
from old_run import old_config, old_run
from PIL import Image
from preparing import prepare
from test_configs import load

from elir_jax import compose
from elir_jax.compose.data import build_data, build_held_out
from elir_jax.compose.finding import find_weights
from elir_jax.compose.measuring import build_measuring, digest
from elir_jax.compose.restoration import build_restoration
from elir_jax.compose.subject import find_subject
from elir_jax.errors import UserError
from elir_jax.restorer import Restorer
from elir_jax.running.records.checkpoint import read_newest, write
from elir_jax.weights.own import write_weights

ALLOW = {"allow": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the least ELIR, whose encoder has been trained away from the frozen one."""
    return old_run(tmp_path_factory.mktemp("run"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, said",
    [
        (["--config.sampler.num_steps=5"], "sampler.num_steps: 0 -> 5"),
        (["--config.objective.sigma_s", "0.5"], "objective.sigma_s: "),
        (["--config.degradation.name=super_resolution"], 'degradation.name: "denoising" -> "super'),
        (["--config.velocity.hidden=64"], "velocity.hidden: 32 -> 64"),
        (["--config.seed=1"], "seed: 0 -> 1"),
        (["--config.degradation.denoising.sigma=0.1"], "degradation.denoising.sigma: 0.35 -> 0.1"),
    ],
)
def test_what_belongs_to_the_weights_is_refused_or_told(folder, words, said):
    with pytest.raises(UserError, match="was made with another configuration") as error:
        find_subject(folder, None, words)
    assert said in str(error.value) and "--allow-config-change" in str(error.value)
    if "velocity" in said:
        with pytest.raises(UserError, match="another network"):
            find_subject(folder, None, words, **ALLOW)
        return
    field = said.partition(":")[0]
    subject = find_subject(folder, None, words, **ALLOW)
    assert f"{field}: {subject.changed[field]}".startswith(said)
    assert field in subject.name(folder) and subject.name(folder).startswith("step-5-")
    assert subject.facts(folder, {})["changed"] == subject.changed


@pytest.mark.slow
def test_a_file_of_a_configuration_must_agree_and_does_not_choose_the_images(folder, tmp_path):
    same = old_config()
    same.update(evaluation={"size": 64}, num_steps=99, optimizer={"learning_rate": 1.0})
    subject = find_subject(folder, same, ())
    assert subject.config.evaluation.size == 32 and not subject.changed
    assert "evaluation.size" in subject.notes[0]
    other = old_config()
    other.update(objective={"num_segments": 1}, evaluation={"size": 64})
    with pytest.raises(UserError, match="objective.num_segments: 2 -> 1"):
        find_subject(folder, other, ())
    subject = find_subject(folder, other, ["--config.evaluation.size=64"], **ALLOW)
    assert subject.config.objective.num_segments == 1
    assert subject.changed.keys() == {"objective.num_segments", "evaluation.size"}
    assert subject.config.evaluation.size == 64


def test_a_restoration_is_by_the_configuration_that_weights_bring(folder):
    """Another one is refused, as in an evaluation, where it would matter."""
    agreeing = old_config()
    agreeing.update(data={"path": "elsewhere"}, num_steps=99, seed=7)
    agreeing.degradation.denoising.sigma = 0.5
    assert build_restoration(folder, agreeing).config.seed == 0
    for change, said in (
        ({"objective": {"num_segments": 1}}, "objective.num_segments: 2 -> 1"),
        ({"velocity": {"hidden": 64}}, "velocity.hidden: 32 -> 64"),
        ({"degradation": {"name": "inpainting"}}, 'degradation.name: "denoising" -> "inpainting"'),
        ({"dtype": "bfloat16"}, "dtype: "),
    ):
        other = old_config()
        other.update(change)
        with pytest.raises(UserError, match="leave out --config") as error:
            Restorer.load(folder, other)
        assert said in str(error.value)


@pytest.mark.slow
def test_what_an_evaluation_may_choose_is_free_and_names_its_folder(folder, tmp_path):
    images = tmp_path / "CelebA Test"
    words = [f"--config.data.eval_path={images}", "--config.evaluation.size=24"]
    words += ["--config.dtype=bfloat16", "--config.evaluation.batch_size=1"]
    subject = find_subject(folder, None, words)
    name = "step-5-data.eval_path-CelebA-Test-dtype-bfloat16-evaluation.size-24"
    assert subject.name(folder) == name
    assert subject.name(tmp_path).startswith(f"{folder.name}-step-5-data.eval_path")
    assert find_subject(folder, None, ()).name(folder) == "step-5"
    chosen = find_subject(folder / "checkpoints" / "5", None, ())
    assert chosen.name(folder) == "step-5" and chosen.run == folder


def test_a_field_that_does_not_exist_is_named(folder):
    with pytest.raises(UserError, match="unknown config field.*num_step"):
        find_subject(folder, None, ["--config.sampler.num_step=5"])
    with pytest.raises(UserError, match="many"):
        find_subject(folder, None, ["--config.sampler.num_steps=many"])


def photographs(folder, count, side=40):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def saved_run(folder, images):
    """A run's folder, untrained, on these images."""
    config = old_config()
    config.data.update(path=str(images), held_out=1)
    run = compose.build(config)
    state = jax.tree.map(np.asarray, run.init_state(folder).replace(step=np.int32(1)))
    write(folder / "checkpoints", 1, state, {"samples": 4}, run.config)
    return folder


@pytest.mark.slow
def test_held_out_images_are_those_that_the_run_left_out_or_the_evaluation_stops(tmp_path):
    """Others than these may be images that the run has trained on."""
    images = photographs(tmp_path / "images", 5)
    run = saved_run(tmp_path / "run", images)
    assert find_subject(run, None, ()).changed == {}
    Image.new("RGB", (40, 40)).save(images / "0a.png")
    with pytest.raises(UserError, match="training_images.images: 4 -> 5"):
        find_subject(run, None, ())
    assert "training_images.images" in find_subject(run, None, (), **ALLOW).changed
    assert find_subject(run, None, (), held_out=False).changed == {}
    assert find_subject(run, None, [f"--config.data.eval_path={images}"]).step == 1


def test_evaluating_needs_no_training_images(tmp_path):
    config = load("super_resolution")
    with pytest.raises(UserError, match="no images to evaluate on.*data.eval_path"):
        build_held_out(config)
    config.data.update(path="/gone", eval_path=str(photographs(tmp_path / "images", 2, 256)))
    images = build_held_out(config)
    assert [images.name(i) for i in range(2)] == ["0.png", "1.png"]
    assert [number for number, *_ in images.pairs(range(2))] == [0, 1]


def broken_file(folder):
    file = photographs(folder, 3) / "1.png"
    file.write_bytes(file.read_bytes()[:-900])
    return folder, "1.png"


def broken_partner(folder):
    for side in ("hq", "lq"):
        photographs(folder / side, 3)
    (folder / "lq" / "2.png").write_bytes(b"no image")
    return folder, "lq/2.png"


def broken_record(folder):
    prepare("folder", photographs(folder / "images", 4, 150), folder / "data")
    (shard,) = folder.glob("data/folder/1.0.0/*.array_record-*")
    shard.write_bytes(shard.read_bytes()[:-70_000])
    return folder / "data", "record"


@pytest.mark.parametrize("broken", [broken_file, broken_partner, broken_record])
def test_what_evaluation_will_read_is_read_before_the_first_step(tmp_path, broken):
    images, name = broken(tmp_path / "held_out")
    config = old_config()
    config.data.eval_path = str(images)
    with pytest.raises(UserError, match=name):
        compose.build(config)
    if broken is not broken_record:  # of which none is left
        config.data.on_error = "skip"
        compose.build(config)


def test_held_out_images_none_of_which_can_be_used_end_the_run_before_the_first_step(tmp_path):
    config = old_config()
    config.data.update(eval_path=str(photographs(tmp_path / "small", 2, 20)), on_error="skip")
    with pytest.raises(UserError, match="none of the images to evaluate on can be used"):
        compose.build(config)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"evaluation": {"size": 8}}, "evaluation.size=8: SSIM needs at least 11 pixels"),
        (
            {"keep_best": "restored.ms_ssim", "evaluate_every": 5, "evaluation": {"size": 160}},
            "restored.ms_ssim: this metric needs pictures of at least 161 pixels",
        ),
    ],
)
def test_a_metric_that_cannot_be_computed_at_the_size_is_refused_at_the_start(changes, words):
    config = load("autoencoder", "tiny")
    config.update(changes)
    with pytest.raises(UserError, match=words):
        compose.build(config)


def test_the_digest_is_of_the_settings_and_the_images_and_not_of_their_place(tmp_path):
    def of(images, **changes):
        config = old_config()
        config.data.eval_path = str(images)
        config.update(changes)
        return digest(config, build_held_out(config))

    here = photographs(tmp_path / "here", 2)
    own = of(here)
    assert own == of(photographs(tmp_path / "there" / "below", 2))
    same = {"evaluation": {"batch_size": 1}, "num_steps": 9, "optimizer": {"learning_rate": 1.0}}
    assert own == of(here, **same)
    others = [{"evaluation": {"size": 24}}, {"sampler": {"num_steps": 7}}, {"seed": 1}]
    others += [{"degradation": {"denoising": {"sigma": 0.1}}}]
    found = {own, *(of(here, **change) for change in others)}
    assert len(found) == 1 + len(others)
    assert of(photographs(tmp_path / "more", 3)) not in found


def frozen_encoder(folder):
    return read_newest(folder / "checkpoints").tree["frozen"]["encoder"]


def same(ours, theirs):
    return jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


@pytest.mark.slow
def test_the_flows_target_is_by_the_frozen_encoder_wherever_weights_hold_it(folder):
    frozen, trained = frozen_encoder(folder), read_newest(folder / "checkpoints").tree["ema"]
    assert not same(frozen, trained["encoder"])
    for params, still in (
        build_restoration(folder)[2:4],
        find_subject(folder, None, ()).weights,
        jax.device_get(Restorer.load(folder).weights),
    ):
        assert same(still["encoder"], frozen)
        assert same(params["encoder"], trained["encoder"])


@pytest.mark.slow
def test_weights_without_the_frozen_encoder_say_what_is_left_out(folder, tmp_path):
    write_weights(tmp_path / "converted", find_weights(folder).given)
    subject = find_subject(tmp_path / "converted", old_config(), ())
    assert subject.method.target is None and "only the trained encoder" in subject.notes[-1]
    assert build_restoration(tmp_path / "converted", old_config()).method.target is None
    assert find_subject(folder, None, ()).method.target is not None
    alone = old_config()
    alone.autoencoder.trainable_encoder = False  # then there is one encoder, and it is the frozen
    weights = find_weights(folder).given | {"encoder": frozen_encoder(folder)}
    write_weights(tmp_path / "alone", weights)
    assert find_subject(tmp_path / "alone", alone, ()).method.target is not None


@pytest.mark.slow
def test_a_picture_that_cannot_be_used_is_counted(folder, tmp_path):
    config = find_subject(folder, None, ()).config
    images = photographs(tmp_path / "images", 3)
    (images / "1.png").write_bytes(b"no image")
    config.data.update(eval_path=str(images), on_error="skip")
    subject = find_subject(folder, None, ())
    measuring = build_measuring(config, subject.method, build_held_out(config))
    found = measuring.evaluate(subject.weights)
    assert [row.name for row in found.rows] == ["0.png", "2.png"]
    assert "1 of 3 pictures could not be used and are left out" in found.notes
    assert json.dumps(measuring.about) and measuring.about["num_steps"] == 2
    assert build_data(config).held_out.name(0) == "0.png"
