"""What the page computes beside the networks is what the package computes, number for number."""

import json
import shutil
import subprocess

import demo
import numpy as np
import pytest
from PIL import Image

from elir_jax.edge import threefry
from elir_jax.inference.fingerprint import fingerprint
from elir_jax.inference.parts import Part, Whole
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.inference.windows import Cut, Layout, _mirrored, join_windows, lay_out
from elir_jax.pictures.grey import as_grey, is_grey

RNG = np.random.default_rng(0)


def node(folder, code):
    """What a program prints, as JSON; the folder's modules are beside it."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [path, "--input-type=module", "--eval", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("key", [(0, 0), (0, 2**32 - 1), (0xDEADBEEF, 12345)])
def test_random_bits_and_keys_are_those_of_python(key):
    found = node(
        demo.programs(),
        f"""import {{bits, foldIn}} from "./threefry.js";
        const key = {list(key)};
        const words = [0, 7, 4294967295];
        const keys = words.map((word) => [...foldIn(key, word)]);
        console.log(JSON.stringify({{bits: [...bits(key, 3000)], keys}}));""",
    )
    key = np.array(key, np.uint32)
    np.testing.assert_array_equal(found["bits"], threefry.bits(key, 0, 3000))
    for word, folded in zip((0, 7, 2**32 - 1), found["keys"], strict=True):
        np.testing.assert_array_equal(folded, threefry.fold_in(key, np.uint32(word)))


def test_normal_numbers_are_those_of_python_to_rounding():
    found = node(
        demo.programs(),
        """import {normal} from "./threefry.js";
        console.log(JSON.stringify([...normal([1, 2], 20000)]));""",
    )
    expected = threefry.normal(np.array([1, 2], np.uint32), (20000,))
    np.testing.assert_allclose(np.float32(found), expected, rtol=5e-7, atol=1e-7)
    assert np.abs(expected).max() > 3.5  # both polynomials took part


@pytest.mark.slow
def test_a_fingerprint_is_that_of_python():
    image = RNG.integers(0, 256, (50, 70, 3), np.uint8)
    found = node(
        demo.built(),
        f"""import {{fingerprint}} from "./noise.js";
        const data = Uint8Array.from({image.ravel().tolist()});
        console.log(JSON.stringify(fingerprint({{data, height: 50, width: 70}})));""",
    )
    np.testing.assert_array_equal(found, fingerprint(image))


@pytest.mark.slow
def test_windows_are_laid_out_as_by_python():
    cases = [
        [*map(int, RNG.integers(1, 300, 2)), int(RNG.integers(20, 9000)), int(RNG.integers(3, 20))]
        for _ in range(120)
    ]
    found = node(
        demo.programs(),
        f"""import {{layOut}} from "./windows.js";
        console.log(JSON.stringify({cases}.map((each) => layOut(...each))));""",
    )
    for case, layout in zip(cases, found, strict=True):
        if layout is None:
            with pytest.raises(ValueError, match="no windows"):
                lay_out(*case)
        else:
            cuts = (layout["rows"], layout["columns"])
            assert Layout(*([Cut(**cut) for cut in some] for some in cuts)) == lay_out(*case)
    windows = [layout and len(layout["rows"]) * len(layout["columns"]) for layout in found]
    assert (
        windows.count(None) > 5
        and sum(number is not None and number > 3 for number in windows) > 20
    )


def test_sides_are_padded_as_by_python():
    found = node(
        demo.programs(),
        """import {paddedSide} from "./windows.js";
        const sides = Array.from({length: 5000}, (_, i) => paddedSide(i + 1, 32));
        console.log(JSON.stringify(sides));""",
    )
    part = Part("all", lambda params, frozen, x, eps: [x], Whole(32, 0, 2**20))
    pictures = WholePictures([part], lambda program: program, 1, lambda *_: None)
    assert found == [pictures.padded_side(pixels) for pixels in range(1, 5001)]


@pytest.mark.parametrize("units", [(1, 1), (8, 1), (1, 8)])
def test_windows_are_cut_and_joined_as_by_python(units):
    """A part that enlarges or shrinks by picking, over a picture that is mirrored to fit."""
    image = RNG.integers(0, 256, (37, 21, 3), np.uint8)
    fine, coarse = units
    height, width = -(-48 // fine), -(-32 // fine)
    size = (37, 21) if fine == 1 else (height, width)
    size = (size[0] * coarse, size[1] * coarse)
    found = node(
        demo.programs(),
        f"""import {{joinWindows, layOut}} from "./windows.js";
        const image = {{data: Uint8Array.from({image.ravel().tolist()}),
                        height: 37, width: 21, channels: 3}};
        const layout = layOut({height}, {width}, {16 if fine == 8 else 300}, 1);
        const scale = {coarse} / {fine};
        const pick = async ([{{data, height, width, channels}}]) => {{
          const output = {{height: height * scale, width: width * scale, channels}};
          output.data = new Float32Array(output.height * output.width * channels);
          for (let y = 0, i = 0; y < output.height; y++)
            for (let x = 0; x < output.width; x++)
              for (let c = 0; c < channels; c++, i++) {{
                const at = Math.floor(y / scale) * width + Math.floor(x / scale);
                output.data[i] = data[at * channels + c];
              }}
          return output;
        }};
        const size = {{height: {size[0]}, width: {size[1]}}};
        const joined = await joinWindows(pick, [image], layout, {list(units)}, size);
        console.log(JSON.stringify({{...joined, data: [...joined.data],
                                     windows: layout.rows.length * layout.columns.length}}));""",
    )
    layout = lay_out(height, width, 16 if fine == 8 else 300, 1)

    def pick(windows):
        (x,) = windows
        x = x[:, ::fine, ::fine]
        return np.repeat(np.repeat(x, coarse, 1), coarse, 2)[:, None]

    ((expected,),) = join_windows(pick, [[image]], layout, units, 1, [size])
    assert found["windows"] == len(layout.rows) * len(layout.columns) > 1
    assert [found[name] for name in ("height", "width", "channels")] == list(expected.shape)
    np.testing.assert_array_equal(np.float32(found["data"]), expected.ravel())


def test_a_small_picture_is_mirrored_repeatedly_as_by_python():
    image = RNG.random((5, 1, 2), np.float32)
    found = node(
        demo.programs(),
        f"""import {{mirrored}} from "./windows.js";
        const image = {{data: Float32Array.from({image.ravel().tolist()}),
                        height: 5, width: 1, channels: 2}};
        const {{data}} = mirrored(image, {{start: 0, stop: 17}}, {{start: 0, stop: 4}}, 2);
        console.log(JSON.stringify([...data]));""",
    )
    expected = _mirrored(image, Cut(0, 17, 0, 17), Cut(0, 4, 0, 4), 2)
    np.testing.assert_array_equal(np.float32(found), expected.ravel())


def test_a_grey_picture_is_told_made_and_written_as_by_python(tmp_path):
    height, width = 9, 14
    floats = RNG.random((height, width, 3), np.float32)
    grey = np.repeat(RNG.integers(0, 256, (height, width, 1), np.uint8), 3, -1)
    almost = grey.copy()
    almost[-1, -1, 2] ^= 1
    found = node(
        demo.programs(),
        f"""import {{asGrey, greyPng, isGrey}} from "./grey.js";
        const size = {{height: {height}, width: {width}, channels: 3}};
        const [grey, almost] = {[grey.ravel().tolist(), almost.ravel().tolist()]}.map(
            (data) => ({{...size, data: Uint8Array.from(data)}}));
        const floats = {{...size, data: Float32Array.from({floats.ravel().tolist()})}};
        console.log(JSON.stringify({{
          told: [isGrey(grey), isGrey(almost)],
          made: [...asGrey(floats).data],
          written: [...await greyPng(grey)],
        }}));""",
    )
    assert found["told"] == [is_grey(grey), is_grey(almost)] == [True, False]
    np.testing.assert_allclose(found["made"], as_grey(floats).ravel(), atol=1e-7)
    (tmp_path / "x.png").write_bytes(bytes(found["written"]))
    with Image.open(tmp_path / "x.png") as picture:
        picture.verify()
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), grey[..., 0])


@pytest.mark.parametrize("task, grey", [("denoising", True), ("colorization", False)])
def test_the_restoration_of_a_grey_picture_is_grey_unless_the_model_adds_colours(task, grey):
    found = node(
        demo.programs(),
        f"""import fs from "node:fs";
        // The packages of npm are not needed: this model draws no noise.
        const source = fs.readFileSync("restorer.js", "utf8").replace(/.*noise.js.*/, "")
            .replaceAll('"./', `"file://${{process.cwd()}}/`);
        const {{restore}} = await import("data:text/javascript," + encodeURIComponent(source));
        const part = {{name: "decode", reach: "Whole", scale: "1", sizes: {{at_once: 1024}}}};
        const run = async (_, [{{data, dims}}]) =>
            ({{dims, data: Float32Array.from(data, (x, i) => x / 255 * (1 - i % 3 / 10))}});
        const model = {{about: {{task: "{task}", multiple: 8, parts: [part]}}, run}};
        const picture = {{data: new Uint8Array(192).fill(200), height: 8, width: 8, channels: 3}};
        const {{data}} = await restore(model, picture, 0, () => 0);
        console.log(JSON.stringify([...data]));""",
    )
    pixels = np.reshape(found, (8, 8, 3))
    assert is_grey(pixels) == grey


@pytest.mark.parametrize(
    "share, seconds, words",
    [
        (0, 3, ""),
        (0.5, 1, "about 1 second left"),
        (0.25, 3, "about 9 seconds left"),
        (0.1, 5, "about 45 seconds left"),
        (0.01, 5, "about 8 minutes left"),
    ],
)
def test_the_time_left_is_said_in_words(share, seconds, words):
    found = node(
        demo.programs(),
        f"""import {{timeLeft}} from "./progress.js";
        console.log(JSON.stringify(timeLeft({share}, {seconds})));""",
    )
    assert found == words
