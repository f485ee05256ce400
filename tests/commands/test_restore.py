"""The command that restores anybody's pictures, on what people have lying about."""

import errno
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from identity import CONFIG, write_identity
from making import png_chunk
from PIL import Image, ImageOps

from elir_jax.commands import frame, picture_files, restore
from elir_jax.commands import restore_pictures as restore_all
from elir_jax.commands.picture_files import find_jobs
from elir_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 0.06  # root mean square error, of [0, 1], that the autoencoder makes of these pictures


def photograph(height, width):
    """Smooth, warm colours, which the small autoencoder keeps well; each corner another.

    With swapped channels or upside down it would be 0.15 and 0.09 from itself.
    """
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    colours = np.stack([0.5 + 0.2 * x, 0.4 + 0.2 * y, 0.5 - 0.2 * x * y], -1)
    return np.round(255 * colours).astype(np.uint8)


def write_odd_inputs(folder):
    image = photograph(48, 60)
    picture = Image.fromarray(image)
    picture.convert("L").save(folder / "grey.png")
    alpha = np.zeros((48, 60), np.uint8)
    alpha[:, 30:] = 255
    hidden = image.copy()
    hidden[:, :30] = 0
    Image.fromarray(np.dstack([hidden, alpha])).save(folder / "alpha.png")
    deep = image.astype(np.uint16) * 257
    cv2.imwrite(str(folder / "deep.tiff"), deep[..., ::-1])
    picture.quantize(64).save(folder / "palette.BMP")
    picture.convert("CMYK").save(folder / "cmyk.JPG", quality=95)
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned a quarter clockwise
    picture.save(folder / "turned.jpeg", quality=95, exif=exif)
    Image.fromarray(photograph(31, 47)).save(folder / "small.webp", lossless=True)
    Image.fromarray(photograph(2, 2)[:1, :1]).save(folder / "dot.png")
    Image.fromarray(photograph(33, 4097)).save(folder / "long.png")
    (folder / "text.png").write_text("this is no picture")
    whole = io.BytesIO()
    picture.save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "im Grünen").mkdir()
    picture.save(folder / "im Grünen" / "schöne Äpfel.PNG")


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return write_identity(tmp_path_factory.mktemp("identity"))


def options(identity, *inputs, output):
    names = [*map(str, inputs), "--output", str(output), "--checkpoint", str(identity)]
    return [*names, "--config", CONFIG, "--no-noise"]


@pytest.fixture(scope="module")
def restored(identity, tmp_path_factory):
    """(inputs, outputs, exit code, what was said) of one command over all odd inputs."""
    inputs, outputs = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    write_odd_inputs(inputs)
    with pytest.MonkeyPatch.context() as patch:
        said = io.StringIO()
        patch.setattr("sys.stderr", said)
        code = restore.main([*options(identity, inputs, output=outputs), "--compare"])
    return inputs, outputs, code, said.getvalue()


def check(restored, name, wanted, mode="RGB"):
    with Image.open(restored[1] / name) as picture:
        assert picture.format == "PNG" and picture.mode == mode
        assert picture.size == (wanted.shape[1], wanted.shape[0])
        found = np.asarray(picture)
    shown = np.repeat(found[..., None], 3, -1) if found.ndim == 2 else found[..., :3]
    error = shown / 255 - np.asarray(wanted, float) / 255
    assert np.sqrt(np.mean(error**2)) < CLOSE
    return found


@pytest.mark.slow
def test_samples_lie_beside_the_result_with_a_map_of_their_deviation(identity, tmp_path, capsys):
    Image.fromarray(photograph(48, 60)).save(tmp_path / "a.png")
    noisy = [word for word in options(identity, tmp_path / "a.png", output=tmp_path / "out")
             if word != "--no-noise"]  # fmt: skip
    assert restore.main([*noisy, "--samples", "3"]) == 0
    out = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert out == ["a.deviation3.png", "a.png", "a.sample2.png", "a.sample3.png"]
    found = [cv2.imread(str(tmp_path / "out" / name), -1) for name in out]
    deviation = np.sqrt(np.var(found[1:], axis=0, ddof=1).mean(-1))
    np.testing.assert_allclose(found[0], np.clip(8 * deviation, 0, 255), atol=8)  # roundings
    second = tmp_path / "second"
    assert restore.main([*noisy, "--seed", "1", "--output", str(second)]) == 0
    np.testing.assert_array_equal(cv2.imread(str(second / "a.png"), -1), found[2])
    assert restore.main([*options(identity, tmp_path / "a.png", output=second), "--samples=2"]) == 2
    assert "here there is none" in capsys.readouterr().err


@pytest.mark.slow
def test_grey(restored):
    grey = np.asarray(Image.fromarray(photograph(48, 60)).convert("L").convert("RGB"))
    found = check(restored, "grey.png", grey, "L")
    assert found.ndim == 2


@pytest.mark.slow
def test_alpha_is_kept_and_hidden_colours_do_not_bleed(restored):
    with Image.open(restored[1] / "alpha.png") as picture:
        found = np.asarray(picture)
    np.testing.assert_array_equal(found[:, :30, 3], 0)
    np.testing.assert_array_equal(found[:, 30:, 3], 255)
    edge = found[:, 30:44, :3].astype(float) - photograph(48, 60)[:, 30:44]
    assert np.abs(edge.mean((0, 1))).max() < 20  # the hidden black is 130 levels away


@pytest.mark.slow
def test_16_bits_stay_16_bits(restored):
    found = cv2.imread(str(restored[1] / "deep.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    error = found[..., ::-1] / 65535 - photograph(48, 60) / 255
    assert np.sqrt(np.mean(error**2)) < CLOSE
    assert len(np.unique(found)) > 256


@pytest.mark.slow
def test_palette(restored):
    with Image.open(restored[0] / "palette.BMP") as picture:
        assert picture.mode == "P"
    check(restored, "palette.png", photograph(48, 60))


@pytest.mark.slow
def test_cmyk(restored):
    check(restored, "cmyk.png", photograph(48, 60))


@pytest.mark.slow
def test_orientation(restored):
    with Image.open(restored[0] / "turned.jpeg") as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    assert upright.shape == (60, 48, 3)
    check(restored, "turned.png", upright)


@pytest.mark.slow
def test_31x47(restored):
    check(restored, "small.png", photograph(31, 47))


@pytest.mark.slow
def test_1x1(restored):
    found = check(restored, "dot.png", photograph(2, 2)[:1, :1])
    assert found.shape == (1, 1, 3)


@pytest.mark.slow
def test_4097x33(restored):
    check(restored, "long.png", photograph(33, 4097))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text.png", "cut.jpg"])
def test_a_bad_file_is_named_and_left_out_and_the_others_are_done(restored, name):
    inputs, outputs, code, said = restored
    assert code == 1
    lines = [line for line in said.splitlines() if "left out:" in line and name in line]
    assert len(lines) == 1 and "Traceback" not in said
    assert not (outputs / name).with_suffix(".png").exists()


@pytest.mark.slow
def test_spaces_umlauts_and_folders_keep_their_names(restored):
    check(restored, "im Grünen/schöne Äpfel.png", photograph(48, 60))


@pytest.mark.slow
def test_nothing_else_is_written(restored):
    _, outputs, *_ = restored
    names = {"grey", "alpha", "deep", "palette", "cmyk", "turned", "small", "dot", "long"}
    found = {p.name for p in outputs.iterdir() if p.is_file()}
    assert found == {f"{n}.png" for n in names} | {f"{n}.compare.png" for n in names}


@pytest.mark.slow
def test_before_and_after_side_by_side(restored):
    with Image.open(restored[1] / "grey.compare.png") as picture:
        assert picture.width > 2 * 60 and picture.height > 48


@pytest.mark.slow
def test_pages_and_frames_behind_the_first_are_counted_and_metadata_kept(
    identity, tmp_path, capsys
):
    first = Image.fromarray(photograph(48, 60))
    other = first.rotate(180)
    for name in ("scan.tif", "moving.png", "moving.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[other, first])
    exif = Image.Exif()
    exif[0x0132] = "1999:12:31 23:59:59"
    first.save(tmp_path / "one.jpg", exif=exif, dpi=(300, 300))
    assert restore.main(options(identity, tmp_path, output=tmp_path / "out")) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("restored 4 of 4") and "; 3 of more than one page or frame" in said
    with Image.open(tmp_path / "out" / "one.png") as picture:
        assert picture.getexif()[0x0132] == exif[0x0132]
        np.testing.assert_allclose(picture.info["dpi"], (300, 300), atol=0.02)
    for path in (tmp_path / "scan.tif", tmp_path / "moving.webp"):
        path.unlink()
    assert restore.main([*options(identity, tmp_path, output=tmp_path / "out"), "--overwrite"]) == 0
    assert "; 1 of more than one page" in capsys.readouterr().out


def test_a_read_only_folder(identity, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root writes everywhere

        def refuse(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(picture_files, "new_file", refuse)
    refuse_output(identity, tmp_path, tmp_path / "out", capsys)


def test_an_output_that_cannot_be_a_folder(identity, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    refuse_output(identity, tmp_path, tmp_path / "out", capsys)


def refuse_output(identity, tmp_path, output, capsys):
    Image.fromarray(photograph(40, 40)).save(tmp_path / "a.png")
    assert restore.main(options(identity, tmp_path / "a.png", output=output)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error:") and str(output) in said and said.count("\n") == 1


@pytest.mark.slow
def test_two_pictures_of_one_name_keep_their_extensions(identity, tmp_path):
    for name in ("a.png", "a.bmp"):
        Image.fromarray(photograph(48, 60)).save(tmp_path / name)
    assert restore.main(options(identity, tmp_path, output=tmp_path / "out")) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png.png", "a.bmp.png"}


@pytest.mark.slow
def test_every_step_is_drawn_and_four_times_the_pixels(identity, tmp_path):
    Image.fromarray(photograph(20, 12)).save(tmp_path / "a.png")
    call = options(identity, tmp_path / "a.png", output=tmp_path / "out")
    assert (
        restore.main([*call, "--intermediate", "--steps", "2", "--upscale", "4", "--color-fix"])
        == 0
    )
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.size == (48, 80)
    with Image.open(tmp_path / "out" / "a.steps.png") as strip:
        assert strip.width > 4 * 48  # input, posterior mean, two steps


@pytest.mark.parametrize(
    "change, message",
    [
        (["nowhere.png"], "nowhere.png: no such file or folder"),
        (["--checkpoint", "nowhere"], "nowhere: no such file or folder of weights"),
        (["--config", "configs/none.py"], "configs/none.py: no such configuration"),
    ],
)
def test_mistakes_are_one_line(identity, tmp_path, capsys, change, message):
    Image.fromarray(photograph(20, 12)).save(tmp_path / "a.png")
    call = options(identity, tmp_path / "a.png", output=tmp_path / "out")
    assert restore.main([*call, *change] if change[0][0] == "-" else [*change, *call]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def write(path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(photograph(48, 60)).save(path)
    return path


def test_folders_that_links_lead_to_are_restored_once_below_the_names_of_the_links(tmp_path):
    write(tmp_path / "in" / "a.png")
    write(tmp_path / "far" / "b.png")
    for link in ("far", "again", "up"):
        (tmp_path / "in" / link).symlink_to(".." if link == "up" else "../far")
    jobs = find_jobs([tmp_path / "in", tmp_path / "far"], tmp_path / "out").jobs
    places = [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs]
    assert places == ["a.png", "again/b.png"]


def test_a_pipe_is_refused_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/null")):
        with pytest.raises(UserError, match=f"{path}: a pipe or device; write"):
            find_jobs([path], tmp_path / "out")


@pytest.mark.slow
def test_what_may_be_a_lost_picture_is_told_and_the_others_are_done(identity, tmp_path, caplog):
    source = write(tmp_path / "in" / "a.png").parent
    (source / "notes.txt").touch()
    (source / "._a.png").touch()
    call = options(identity, source, output=tmp_path / "out")
    assert restore.main(call) == 0
    assert sum("passed over: " in record.message for record in caplog.records) == 2
    (source / "gone.png").symlink_to("nowhere")
    for again in ([], ["--overwrite"]):
        caplog.clear()
        assert restore.main([*call, *again]) == 1
        assert f"links that lead nowhere (1): {source}/gone.png" in caplog.text


@pytest.mark.slow
def test_what_cannot_be_written_is_named_and_the_others_are_done(identity, tmp_path, capsys):
    write(tmp_path / "in" / "a.png")
    write(tmp_path / "in" / "b.png")
    write(tmp_path / "in" / "sub" / "c.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file where a folder should be")
    assert restore.main(options(identity, tmp_path / "in", output=tmp_path / "out")) == 1
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.png", "b.png", "sub"}
    said = capsys.readouterr()
    assert "c.png: cannot be written" in said.err and "restored 2 of 3" in said.out


def test_a_picture_that_changes_while_it_waits_is_named(identity, tmp_path, capsys, monkeypatch):
    source = write(tmp_path / "a.png")
    monkeypatch.setattr(restore_all, "read_shape", lambda path: (48, 70))
    assert restore.main(options(identity, source, output=tmp_path / "out")) == 1
    assert "its header gives another size" in capsys.readouterr().err


@pytest.mark.slow
def test_a_picture_of_too_many_pixels_is_left_out_unless_asked_for(identity, tmp_path, capsys):
    write(tmp_path / "a.png")
    call = options(identity, tmp_path / "a.png", output=tmp_path / "out")
    assert restore.main([*call, "--max-pixels", "2879"]) == 1  # it has 60x48
    assert "60x48 pixels are more than 2879; split it" in capsys.readouterr().err
    assert restore.main([*call, "--max-pixels", "2880"]) == 0
    assert restore.main([*call, "--overwrite", "--max-pixels", "2880", "--upscale", "2"]) == 1
    assert "120x96 pixels are more than 2880" in capsys.readouterr().err


def test_a_small_file_may_not_ask_for_gigabytes_by_default(identity, tmp_path, capsys):
    size = struct.pack(">IIBBBBB", 2**14 + 1, 2**14, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", size) + png_chunk(b"IDAT", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert restore.main(options(identity, tmp_path / "a.png", output=tmp_path / "out")) == 1
    assert "16385x16384 pixels are more than 268435456" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999", "x"])
def test_a_seed_that_is_none(identity, tmp_path, seed):
    with pytest.raises(SystemExit) as stopped:
        restore.main([*options(identity, tmp_path / "a.png", output=tmp_path), "--seed", seed])
    assert stopped.value.code == 2


@pytest.mark.slow
def test_where_nobody_reads_what_is_said_it_ends_quietly(identity, tmp_path):
    source, out = write(tmp_path / "a.png"), tmp_path / "out"
    assert restore.main(options(identity, source, output=out)) == 0
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "elir_jax.restore", *options(identity, source, output=out)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_no_quiet_end():
    def command():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        frame.exit_code_of(command)
