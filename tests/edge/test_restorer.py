"""The runner without JAX: the restorations of Restorer, from nothing but the exported file."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import exported
import numpy as np
import onnx
import pytest

from elir_jax.edge import Restorer
from elir_jax.edge.cutting import tensors
from elir_jax.edge.file import read_exported
from elir_jax.edge.layout import is_weight
from elir_jax.errors import UserError
from elir_jax.pictures.images import read_image, to_uint8, write_png
from elir_jax.restorer import Restorer as Ours

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(1)
IMAGES = [RNG.random((*size, 3), np.float32) for size in ((40, 24), (50, 70))]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return exported.write(tmp_path_factory.mktemp("edge"))


@pytest.fixture(scope="module")
def ours():
    return Ours.load(exported.folder(), exported.config())


def decibels(x, y):
    return -10 * np.log10(np.mean(np.square(x - y)) + 1e-30)


def test_pictures_of_any_size_are_restored_as_by_the_restorer(file, ours):
    restored = Restorer.load(file)(IMAGES, seed=5)
    for theirs, one in zip(ours(IMAGES, seed=5), restored, strict=True):
        assert decibels(theirs, one) > 90 and np.abs(theirs - one).max() < 1e-4
    other = Restorer.load(file)(IMAGES[0], seed=6)
    assert np.abs(other - restored[0]).max() > 1e-2  # the noise is the seed's


def test_every_stage_is_that_of_the_restorer(file, ours):
    runner = Restorer.load(file)
    assert runner.stage_names == ours.stage_names
    (mine,), (theirs,) = (r.stages(IMAGES[:1], 0, every=True) for r in (runner, ours))
    assert len(mine) == len(theirs) == len(runner.stage_names)
    for one, other in zip(mine, theirs, strict=True):
        assert decibels(one, other) > 90


def test_colours_are_taken_from_the_input_as_by_the_restorer(file, ours):
    runner = Restorer.load(file)
    assert runner.task == ours.task == "denoising"
    one, other = (r(IMAGES[0], color_fix=True) for r in (runner, ours))
    assert decibels(one, other) > 90 and decibels(one, runner(IMAGES[0])) < 60


def test_a_grey_picture_is_restored_in_grey_as_by_the_restorer(file, ours):
    grey = np.repeat(IMAGES[0][..., :1], 3, -1)
    one, other = (r(grey) for r in (Restorer.load(file), ours))
    np.testing.assert_array_equal(one, np.repeat(one[..., :1], 3, -1))
    assert decibels(one, other) > 90


def test_a_pickled_runner_restores_the_same(file):
    before = Restorer.load(file, steps=1, noise=False)
    after = pickle.loads(pickle.dumps(before))
    assert after.stage_names == before.stage_names
    np.testing.assert_array_equal(after(IMAGES[0]), before(IMAGES[0]))


def test_a_number_of_steps_that_is_none(file):
    with pytest.raises(UserError, match="at least 1, not 0"):
        Restorer.load(file, steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("steps, noise", [(1, True), (3, False)])
def test_steps_and_noise_are_chosen_when_it_runs(file, steps, noise):
    other = Ours.load(exported.folder(), exported.config(), steps=steps, noise=noise)
    runner = Restorer.load(file, steps=steps, noise=noise)
    assert decibels(runner(IMAGES[0]), other(IMAGES[0])) > 90
    assert runner.stage_names == other.stage_names


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["latents 0.5", "pixels 1"])
def test_the_fidelity_is_chosen_when_it_runs(kind, tmp_path):
    path = exported.write(tmp_path, kind=kind)
    for fidelity in (0.0, 0.3, 1.0):
        ours = Ours.load(exported.folder(kind), exported.config(kind), fidelity=fidelity)
        runner = Restorer.load(path, fidelity=fidelity)
        assert decibels(runner(IMAGES[0]), ours(IMAGES[0])) > 90
    with pytest.raises(UserError, match=r"fidelity must lie in \[0, 1\]"):
        Restorer.load(path, fidelity=1.5)


def test_a_file_that_is_made_for_one_fidelity_says_so(file):
    with pytest.raises(UserError, match="made for the fidelity 1.0 alone; .* --fidelity 0.5"):
        Restorer.load(file, fidelity=0.5)


def test_windows_leave_the_result_as_it_is(file):
    small = read_exported(file)
    for part in small.about["parts"]:
        if part["reach"] == "Local":
            part["sizes"]["at_once"] = 4 * 46
    image = RNG.random((32, 448, 3), np.float32)
    in_windows = Restorer.of(small, steps=None, noise=True)(image)
    assert decibels(in_windows, Restorer.load(file)(image)) > 110


WITHOUT = """if True:
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {missing}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Missing())
"""
REST = {"jax", "jaxlib", "flax", "jaxtyping", "cv2", "absl", "ml_collections", "onnx", "tqdm",
        "safetensors", "skimage", "matplotlib", "orbax", "beartype", "etils", "fsspec"}  # fmt: skip


def python(code, *arguments, missing=()):
    program = WITHOUT.format(missing=set(missing) or {""}) + code
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


def test_it_restores_where_only_numpy_pillow_and_onnxruntime_are(file, ours, tmp_path):
    np.save(tmp_path / "image.npy", IMAGES[0])
    code = """
    import numpy as np
    from elir_jax.edge import Restorer
    file, before, after = sys.argv[1:]
    np.save(after, Restorer.load(file)(np.load(before)))"""
    done = python(code, file, tmp_path / "image.npy", tmp_path / "out.npy", missing=REST)
    assert done.returncode == 0, done.stderr
    assert decibels(np.load(tmp_path / "out.npy"), ours(IMAGES[0])) > 90


def test_its_command_needs_no_more(file, ours, tmp_path):
    pixels = to_uint8(IMAGES[0])
    write_png(tmp_path / "in" / "a.png", pixels)
    code = """
    from elir_jax.commands.edge import main
    sys.exit(main(sys.argv[1:]))"""
    words = (file, tmp_path / "in", "--output", tmp_path / "out")
    done = python(code, *words, missing=REST)
    assert done.returncode == 0, done.stderr
    difference = read_image(tmp_path / "out" / "a.png").astype(int) - ours(pixels)
    assert np.abs(difference).max() <= 1


def test_importing_it_loads_no_jax():
    done = python("    import elir_jax.edge; print({'jax', 'flax', 'cv2'} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr


def damaged(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "change, message",
    [
        (damaged, "not an ONNX file, or damaged"),
        (lambda content: b"", "no file of elir_jax.export"),
        (lambda content: b"PNG" * 50, "not an ONNX file, or damaged"),
        (lambda c: c.replace(b'{"version": 2,', b'{"version": 9,'), "version 9 of the layout"),
        (lambda c: c.replace(b'"parts": [', b'"party": ['), "its metadata lack parts"),
        (lambda c: c.replace(b'"Local"', b'"Lokal"'), "its metadata are damaged"),
        (lambda c: c.replace(b'"steps": 2', b'"stops": 2'), "its metadata are damaged"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, change, message):
    path = tmp_path / "bad.onnx"
    path.write_bytes(change(exported.content()))
    with pytest.raises(UserError, match=message) as error:
        Restorer.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_a_flipped_bit_in_any_weight_is_found_and_the_weight_named(tmp_path, form):
    content, path = exported.content(form), tmp_path / "flipped.onnx"
    weights = [t for t in tensors(content) if is_weight(t.name)]
    assert {t.name for t in weights} == read_exported(path, content).about["weights"].keys()
    for weight in weights[:: len(weights) // 4]:
        changed = bytearray(content)
        changed[content.index(bytes(weight.content)) + len(weight.content) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(UserError, match=f"damaged: {weight.name} is not what was written"):
            Restorer.load(path)
    path.write_bytes(content)
    Restorer.load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda c: c.replace(b"decoder/stage0", b"decoder/stageX"),
            r"damaged: decoder/stage0_block0/conv0/bias \(and",
        ),
        (lambda c: c.replace(b'"digest": "', b'"digest": "0', 1), "the list of its weights"),
        (lambda c: c.replace(b'"weights": {', b'"weights": 5, "w": {'), "damaged"),
    ],
)
def test_a_list_of_weights_that_does_not_fit_is_told(tmp_path, change, message):
    path, model = tmp_path / "bad.onnx", onnx.load_model_from_string(exported.content())
    (entry,) = model.metadata_props
    entry.value = change(entry.value.encode()).decode()
    onnx.save(model, path)
    with pytest.raises(UserError, match=message):
        Restorer.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.onnx: no such file"):
        Restorer.load(tmp_path / "nothing.onnx")


def test_a_missing_onnxruntime_is_told_with_the_extra(file):
    code = """
    import numpy as np
    from elir_jax.edge import Restorer
    Restorer.load(sys.argv[1])(np.zeros((32, 32, 3), np.uint8))"""
    done = python(code, file, missing=["onnxruntime"])
    assert "UserError: onnxruntime is not installed" in done.stderr
    assert "elir_jax[edge]" in done.stderr


def test_a_graph_that_onnxruntime_refuses_is_told(tmp_path):
    path = tmp_path / "odd.onnx"
    path.write_bytes(exported.content().replace(b"ConvTranspose", b"ConvTranspoze"))
    with pytest.raises(UserError, match="cannot load it"):
        Restorer.load(path)(IMAGES[0])
