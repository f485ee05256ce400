"""What is a result and what is an input: nothing of the user's is ever replaced or passed off."""

import json
import os
import shutil

import numpy as np
import pytest
from exported import write as write_file
from making import png_chunk
from PIL import Image, PngImagePlugin

from elir_jax.commands import edge, restore
from elir_jax.commands.picture_files import find_jobs
from elir_jax.commands.runtimes import weights_digest
from elir_jax.errors import UserError
from elir_jax.pictures.results import HEADER, State, examine, is_result

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_file(tmp_path_factory.mktemp("file"))


@pytest.fixture
def run(file, tmp_path, capsys):
    """Restore in a folder: (exit code, what was printed, the lines of what was left out)."""

    def command(*inputs, output="out", words=()):
        paths = [str(tmp_path / path) for path in inputs]
        words = [str(file), *paths, "--output", str(tmp_path / output), *words]
        code = edge.main(words)
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if "left out:" in line]
        assert "Traceback" not in said.err
        return code, said.out, lines

    return command


def draw(path, size=(20, 12)):
    """Write another picture each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(found):
    return [job.source.name for job in found.jobs]


def test_the_same_command_keeps_what_it_wrote_and_does_what_is_missing(run, tmp_path):
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "b.png")
    assert run("in")[0] == 0
    before = contents(tmp_path / "out")
    kept = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    (tmp_path / "out" / "b.png").unlink()
    code, said, _ = run("in")
    assert code == 0 and "kept 1 of 2" in said and "restored 1 of 1" in said
    assert contents(tmp_path / "out") == before
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == kept
    code, said, _ = run("in")
    assert code == 0 and "kept 2 of 2" in said and "restored" not in said


@pytest.mark.parametrize("output", ["in", "in/out", "link"])
def test_the_output_may_be_the_input_or_lie_inside_it(run, tmp_path, output, caplog):
    draw(tmp_path / "in" / "a.jpg")
    draw(tmp_path / "in" / "b.png")
    (tmp_path / "link").symlink_to("in")
    originals = contents(tmp_path / "in")
    assert run("in", output=output)[0] == 0
    first = contents(tmp_path / "in")
    below = "out/" if output == "in/out" else ""
    second = "b.png" if below else "b.png.png"
    assert first.keys() - originals.keys() == {f"{below}a.png", f"{below}{second}"}
    for again in ("in", "link"):
        caplog.clear()
        passed = (
            "the folder of the results (1)" if below else "results of ours, which are no inputs (2)"
        )
        assert run(again, output=output)[0] == 0 and passed in caplog.text
    assert contents(tmp_path / "in") == first and originals.items() <= first.items()


def test_a_result_that_is_named_is_no_input_either(run, tmp_path):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg", output=".")[0] == 0
    code, said, _ = run("a.jpg", "a.png", output=".")  # as a shell writes *
    assert code == 0 and "kept 1 of 1" in said
    with pytest.raises(UserError, match="no images in .* but 1 results of ours"):
        find_jobs([tmp_path / "a.png"], tmp_path / "other")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    "kind", ["original", "folder", "dangling", "link", "link to an empty file", "text", "bare"]
)
def test_what_is_no_result_is_named_and_kept(run, tmp_path, kind, more):
    draw(tmp_path / "d" / "a.jpg")
    draw(tmp_path / "d" / "z.jpg")
    target, other = tmp_path / "d" / "a.png", draw(tmp_path / "other.png")
    (empty := tmp_path / "empty").touch()
    make = {
        "original": lambda: draw(target),
        "folder": target.mkdir,
        "dangling": lambda: target.symlink_to("nowhere"),
        "link": lambda: target.symlink_to(other),
        "link to an empty file": lambda: target.symlink_to(empty),
        "text": lambda: target.write_text("mine"),
        "bare": lambda: target.write_bytes(other.read_bytes()[:60]),
    }
    make[kind]()
    before = contents(tmp_path / "d"), other.read_bytes(), target.is_symlink()
    code, said, lines = run("d/a.jpg", "d/z.jpg", output="d", words=more)
    assert code == 1 and "restored 1 of 2" in said
    assert len(lines) == 1 and "a.png exists, and is not as a restoration of ours" in lines[0]
    after = contents(tmp_path / "d")
    assert after.pop("z.png") and (after, other.read_bytes(), target.is_symlink()) == before


def test_a_result_that_was_edited_is_the_users(run, tmp_path):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg")[0] == 0
    target = tmp_path / "out" / "a.png"
    content = target.read_bytes()
    edited = content[:-12] + png_chunk(b"tEXt", b"Comment\0mine") + content[-12:]
    target.write_bytes(edited)
    for more in ((), ("--overwrite",)):
        code, _, lines = run("a.jpg", words=more)
        assert code == 1 and len(lines) == 1 and target.read_bytes() == edited


def test_a_result_that_was_saved_by_another_program_can_be_an_input(run, tmp_path):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg")[0] == 0
    with Image.open(tmp_path / "out" / "a.png") as picture:
        said = PngImagePlugin.PngInfo()
        for name, text in picture.text.items():  # some programs copy what they do not know
            said.add_text(name, text)
        picture.save(tmp_path / "copy.png", pnginfo=said)
        picture.save(tmp_path / "again.png")
    assert is_result(tmp_path / "copy.png")
    assert examine(tmp_path / "copy.png").state is State.FOREIGN
    assert names(find_jobs([tmp_path / "again.png"], tmp_path / "o")) == ["again.png"]


@pytest.mark.parametrize("cut", [0, HEADER + 40, -20, "flip", "record"])
def test_a_damaged_result_is_written_again(run, tmp_path, cut):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg")[0] == 0
    target = tmp_path / "out" / "a.png"
    content = bytearray(target.read_bytes())
    if isinstance(cut, int):
        damaged = content[:cut]
    else:
        damaged = content.copy()
        damaged[len(content) - 30 if cut == "flip" else content.index(b'"seed": 0') + 8] ^= 1
    target.write_bytes(damaged)
    code, said, lines = run("a.jpg")
    assert code == 0 and "restored 1 of 1" in said and not lines
    assert target.read_bytes() == content


@pytest.mark.parametrize(
    "change, words",
    [
        ("picture", "a result of another picture;"),
        ("weights", "a result of other weights;"),
        ("--seed 3 --no-noise", "a result of other options (--seed, --no-noise);"),
    ],
)
def test_another_result_of_ours_is_said_and_replaced_only_if_asked(
    run, file, tmp_path, change, words
):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg")[0] == 0
    target = tmp_path / "out" / "a.png"
    before, more = target.read_bytes(), change.split() if change.startswith("-") else []
    if change == "picture":
        draw(tmp_path / "a.jpg")
    if change == "weights":
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b'"licence": "MIT"', b'"licence": "BSD"'))
    try:
        code, _, lines = run("a.jpg", words=more)
        assert code == 1 and len(lines) == 1 and words in lines[0]
        assert "--overwrite replaces it" in lines[0] and target.read_bytes() == before
        assert run("a.jpg", words=[*more, "--overwrite"])[0] == 0
        assert target.read_bytes() != before
        assert run("a.jpg", words=more)[0] == 0
    finally:
        if change == "weights":
            file.write_bytes(whole)


def test_a_moved_picture_and_a_link_to_its_result_are_known(run, tmp_path):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg")[0] == 0
    (tmp_path / "moved").mkdir()
    shutil.copy(tmp_path / "a.jpg", tmp_path / "moved" / "a.jpg")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").symlink_to(tmp_path / "out" / "a.png")
    code, said, _ = run("moved/a.jpg", output="other")
    assert code == 0 and "kept 1 of 1" in said


def test_one_name_from_two_folders_is_refused_at_once_or_said_later(run, tmp_path):
    draw(tmp_path / "one" / "x.jpg")
    draw(tmp_path / "two" / "x.jpg")
    assert run("one", "two")[0] == 2 and not (tmp_path / "out").exists()
    assert run("one")[0] == 0
    code, _, lines = run("two")
    assert code == 1 and "a result of another picture" in lines[0]


def test_a_picture_beside_is_not_replaced_either(run, tmp_path, file, capsys):
    draw(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.compare.png").write_text("mine")
    words = [str(tmp_path / "a.jpg"), "--output", str(tmp_path / "out"), "--checkpoint", str(file)]
    assert restore.main([*words, "--compare", "--intermediate"]) == 1
    assert (tmp_path / "out" / "a.compare.png").read_text() == "mine"
    assert is_result(tmp_path / "out" / "a.png") and is_result(tmp_path / "out" / "a.steps.png")
    (tmp_path / "out" / "a.compare.png").unlink()
    assert restore.main([*words, "--compare", "--intermediate"]) == 0
    assert is_result(tmp_path / "out" / "a.compare.png")
    kept = "kept 1 of 1"
    assert restore.main([*words, "--compare"]) == 0 and kept in capsys.readouterr().out


def test_what_appears_while_pictures_are_restored_is_kept(run, tmp_path, monkeypatch):
    draw(tmp_path / "a.jpg")
    target, load = tmp_path / "out" / "a.png", edge_loader()

    def late(options):
        target.write_text("mine")
        return load(options)

    monkeypatch.setattr("elir_jax.commands.runtimes.load_exported", late)
    code, _, lines = run("a.jpg")
    assert code == 1 and len(lines) == 1 and target.read_text() == "mine"


def edge_loader():
    from elir_jax.commands import runtimes

    return runtimes.load_exported


def test_other_pictures_in_an_output_inside_the_input_are_passed_over_with_a_word(tmp_path):
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "out" / "old.png")
    found = find_jobs([tmp_path / "in"], tmp_path / "in" / "out")
    assert names(found) == ["a.png"]
    assert found.left_out.lines() == [
        f"passed over: the folder of the results (1): {tmp_path}/in/out"
    ]
    assert names(find_jobs([tmp_path / "in"], tmp_path)) == ["a.png", "old.png"]


def test_one_file_by_two_names_is_one(tmp_path):
    path = draw(tmp_path / "a.png")
    other = tmp_path / "." / ".." / tmp_path.name / "a.png"
    assert names(find_jobs([path, other], tmp_path / "o")) == ["a.png"]


def test_a_picture_beside_may_not_take_anothers_place(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "a.compare.png")
    assert len(find_jobs([tmp_path], tmp_path / "out").jobs) == 2
    with pytest.raises(UserError, match=r"written to .*a\.compare\.png;"):
        find_jobs([tmp_path], tmp_path / "out", ["compare"])


def test_the_record_says_what_the_result_is_made_of(run, tmp_path):
    draw(tmp_path / "a.jpg")
    assert run("a.jpg", words=["--seed", "7"])[0] == 0
    with Image.open(tmp_path / "out" / "a.png") as picture:
        said = json.loads(picture.text["elir_jax"])
    assert said["kind"] == "restored" and said["options"]["seed"] == 7
    assert os.fspath(tmp_path) not in json.dumps(said)  # no folder of this machine


def test_weights_are_known_by_their_files_wherever_they_lie(tmp_path):
    def digest(path, *words):
        words = ["a.png", "--output", "out", "--checkpoint", str(path), *words]
        return weights_digest(restore.parse(words))

    run = tmp_path / "run"
    for step in (10, 20):
        place = run / "checkpoints" / str(step)
        place.mkdir(parents=True)
        (place / "run.json").write_text("{}")
        (place / "digests.json").write_text(f"of {step}")
    newest = run / "checkpoints" / "20"
    (run / "metrics.csv").write_text("a run writes on")
    assert digest(run) == digest(newest) != digest(run / "checkpoints" / "10")
    assert digest(shutil.copytree(run, tmp_path / "copy")) == digest(run)
    (newest / "digests.json").write_text("of other weights")
    assert digest(tmp_path / "copy") != digest(run)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "weights.safetensors").write_text("converted")
    config = ["--config", "configs/quickstart.py:tiny"]
    assert digest(tmp_path / "w") == digest(tmp_path / "w") != digest(tmp_path / "w", *config)
