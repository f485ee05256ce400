"""The commands that write and check an exported file, and that restore with one."""

import json
import zipfile
from io import BytesIO

import exported
import numpy as np
import onnx
import pytest
import small
from jax import export as jax_export
from PIL import Image

from elir_jax.commands import restore, runtimes
from elir_jax.commands.edge import main as edge_main
from elir_jax.commands.export import main
from elir_jax.commands.exporting import content_of
from elir_jax.edge import layout
from elir_jax.edge.cutting import metadata
from elir_jax.edge.file import read_exported
from elir_jax.errors import UserError

CONFIG = """if True:
    def get_config(variant):
        import exported
        return exported.config()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a configuration, pictures and the file that the command writes."""
    found = tmp_path_factory.mktemp("export")
    (found / "configs").mkdir()
    (found / "configs" / "small.py").write_text(CONFIG)
    (found / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for name, size in {"a": (40, 48), "b": (33, 70)}.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(
            found / "pictures" / f"{name}.png"
        )
    assert main([*source(found), "--output", str(found / "whole.onnx"), "--licence", "CC0"]) == 0
    return found


def source(place):
    return [str(exported.folder()), "--config", str(place / "configs" / "small.py")]


def restored(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def test_the_metadata_say_what_the_file_is(place):
    content = (place / "whole.onnx").read_bytes()
    about = json.loads(metadata(content)[layout.METADATA])
    assert about["licence"] == "CC0" and about["seed"] == 0 and about["multiple"] == 16
    assert about["flow"] == {"steps": 2, "sigma_s": 0.025, "noise": True, "fidelity": 1.0}
    assert about["config"]["velocity"]["channel_multipliers"] == [1, 2]
    assert "data" not in about["config"]  # it names folders of the machine that trained
    assert [part["name"] for part in about["parts"]] == [
        "encode", "posterior_mean", "flow", "decode"
    ]  # fmt: skip
    assert about["digest"] == layout.digest_of(about["weights"])


@pytest.mark.slow
def test_three_ways_to_restore_give_the_same_pictures(place, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    pictures, file = str(place / "pictures"), str(place / "whole.onnx")
    for name, more in {
        "xla": source(place)[1:],
        "onnx": [*source(place)[1:], "--runtime", "onnx"],
        "auto": [*source(place)[1:], "--runtime", "auto"],
    }.items():
        weights = ["--checkpoint", str(exported.folder())]
        assert restore.main([pictures, "--output", str(place / name), *weights, *more]) == 0
    assert restore.main([pictures, "--output", str(place / "file"), "--checkpoint", file]) == 0
    assert edge_main([file, pictures, "--output", str(place / "edge")]) == 0
    ours = restored(place / "xla")
    assert ours.keys() == {"a.png", "b.png"}
    for name in ("onnx", "auto", "file", "edge"):
        for picture, pixels in restored(place / name).items():
            assert np.abs(pixels.astype(int) - ours[picture]).max() <= 1


def test_a_model_s_graph_is_kept_for_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def content_of(*arguments):
        made.append(arguments)
        return exported.content()

    monkeypatch.setattr("elir_jax.commands.exporting.content_of", content_of)
    options = restore.parse(["a.png", "--output", "b", "--runtime", "onnx"])
    for _ in range(2):
        assert runtimes.load_restorer(options).about["source"] == "small"
    assert len(made) == 1
    (kept,) = (tmp_path / "elir_jax" / "onnx").glob("*.onnx")
    flipped = bytearray(exported.content())
    flipped[len(flipped) // 2] ^= 0x80  # in a weight, so onnxruntime would load it
    for damage in (b"damaged", flipped):
        made.clear()
        kept.write_bytes(damage)
        runtimes.load_restorer(options)
        assert len(made) == 1 and kept.read_bytes() == exported.content()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_a_good_file_passes_the_check(place, form, capsys):
    file = place / f"{form}.onnx"
    assert main([*source(place), "--output", str(file), "--format", form]) == 0
    assert check(place, file) == 0
    said = capsys.readouterr().out
    for part in ("encode", "posterior_mean", "flow", "decode", "whole", "restorations", "PSNR"):
        assert f"\n{part}" in said
    assert "tensors as they should be" in said and "is the same restorer" in said


def check(place, file):
    return main([*source(place), "--check", str(file), "--pictures", str(place / "pictures")])


@pytest.mark.slow
def test_a_nudged_weight_is_found_and_named(place, capsys):
    model = onnx.load(place / "whole.onnx")
    tensor = next(t for t in model.graph.initializer if t.name == "velocity/mid0/time/bias")
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[3] += 0.125
    tensor.raw_data = values.tobytes()
    onnx.save(model, place / "nudged.onnx")
    assert check(place, place / "nudged.onnx") == 1
    said = capsys.readouterr().out
    assert f"velocity/mid0/time/bias differs in 1 of {values.size} by up to 0.125" in said
    assert "DIFFERS" in said


@pytest.mark.slow
def test_other_weights_of_the_flow_are_found(place, capsys):
    model = onnx.load(place / "whole.onnx")
    sigma = next(t for t in model.graph.initializer if t.name == layout.SIGMA)
    sigma.raw_data = np.float32(0.2).tobytes()
    onnx.save(model, place / "sigma.onnx")
    assert check(place, place / "sigma.onnx") == 1
    assert "sigma_s differs" in capsys.readouterr().out


def test_a_fixed_shape_is_fixed(place, capsys):
    file = place / "fixed.onnx"
    assert main([*source(place), "--output", str(file), "--shape", "1x32x48"]) == 0
    inputs = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in onnx.load(file).graph.input
    }
    assert inputs == {"image": [1, 32, 48, 3], "noise": [1, 4, 6, 16]}
    assert edge_main([str(file), str(place / "pictures"), "--output", str(place / "no")]) == 2
    assert "made for the shape 1x32x48 only" in capsys.readouterr().err


@pytest.mark.slow
def test_stablehlo_runs_in_jax_alone(place):
    file = place / "programs.zip"
    assert main([*source(place), "--output", str(file), "--format", "stablehlo"]) == 0
    archive = zipfile.ZipFile(file)
    about = json.loads(archive.read("about.json"))
    assert about["programs"] == ["encode", "posterior_mean", "flow", "decode", "restore"]
    assert archive.read("restore.mlirbc")[:4] == b"ML\xefR"  # MLIR's bytecode
    arrays = np.load(BytesIO(archive.read("weights.npz")))
    weights = [arrays[name] for name in arrays.files]
    program = jax_export.deserialize(bytearray(archive.read("restore.jax")))
    rng = np.random.default_rng(0)
    found = exported.found()
    for size in ((1, 32, 48), (2, 16, 16)):
        x = rng.random((*size, 3), np.float32)
        eps = np.float32(rng.normal(size=(size[0], size[1] // 8, size[2] // 8, 16)))
        expected = small.mapped(whole(found.method.parts))((found.params, found.frozen), (x, eps))
        np.testing.assert_allclose(program.call(weights, x, eps), expected, atol=5e-5)


def whole(parts):
    def restore(weights, rows):
        x, eps = rows
        for part in parts:
            x = part.apply(*weights, x, eps if part.noisy else None)[-1]
        return x

    return restore


@pytest.mark.parametrize(
    "words, message",
    [
        (["--output", "out.onnx"], "no weights to export"),
        (["nothing", "--output", "out.onnx"], "nothing: no such file or folder"),
        (["denoising", "--output", "out.tflite"], "writes ONNX; choose a name with .onnx"),
        (["denoising", "--format", "stablehlo", "--output", "a.onnx"], "writes stablehlo"),
        (["denoising", "--output", "out.onnx", "--shape", "1x30x32"], "must be multiples of 32"),
        (["--check", "missing.onnx"], "name a folder, --pictures DIR"),
        (["--check", "missing.onnx", "--pictures", "."], "missing.onnx: no such file"),
        (["--check", "model.zip", "--pictures", "."], "only files of the format .onnx"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1 and said.startswith("error: ")


def test_an_existing_file_is_kept(place, capsys):
    before = (place / "whole.onnx").read_bytes()
    assert main([*source(place), "--output", str(place / "whole.onnx")]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (place / "whole.onnx").read_bytes() == before


@pytest.mark.parametrize(
    "more, message",
    [
        (["--runtime", "xla"], "runs by onnxruntime"),
        (["--dtype", "float32"], "remove --dtype"),
        (["--config", "configs/bfr.py"], "remove --config"),
    ],
)
def test_an_exported_file_takes_no_options_of_our_programs(place, more, message, capsys):
    words = [str(place / "pictures"), "--output", str(place / "none")]
    assert restore.main([*words, "--checkpoint", str(place / "whole.onnx"), *more]) == 2
    assert message in capsys.readouterr().err


def test_without_onnx_the_extra_is_named(place, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*source(place), "--output", str(place / "x.onnx")]) == 2
    said = capsys.readouterr().err
    assert "onnx is not installed; pip install -r requirements-edge.txt" in said


def test_other_methods_have_no_onnx_form(capsys, tmp_path):
    found = exported.found()
    other = found._replace(config=found.config.copy_and_resolve_references())
    other.config.method = "pmrf"
    with pytest.raises(UserError, match="--format stablehlo writes those of every method"):
        content_of(other, "float32", {})


def test_auto_leaves_onnxruntime_where_jax_may_have_an_accelerator(monkeypatch):
    for platforms, accelerated in {"cpu": False, "cuda": True}.items():
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        assert runtimes.accelerated() is accelerated


def test_reading_gives_the_bytes_and_the_metadata(place):
    file = read_exported(place / "whole.onnx")
    assert file.about["title"].startswith("elir") and file.model.startswith(b"\x08")
