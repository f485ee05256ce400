"""The console of a command: streams that are closed or strict, names on one line, exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exported import write as write_file
from PIL import Image

from elir_jax.errors import one_line

ROOT = Path(__file__).resolve().parents[2]
CALLS = {
    "edge": "from elir_jax.commands.edge import main; import sys; sys.exit(main(sys.argv[1:]))",
    "restore": "from elir_jax.commands.restore import run; run()",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_file(tmp_path_factory.mktemp("file"))


def command(kind, file, *words, strict="utf-8:strict", shell="", **streams):
    """Run a command as a process in strict encoding; ``shell`` redirects."""
    words = [str(file), *words] if kind == "edge" else ["--checkpoint", str(file), *words]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": strict}
    call = [sys.executable, "-c", CALLS[kind], *words]
    if shell:
        call = ["sh", "-c", f'exec "$@" {shell}', "sh", *call]
    streams = streams or {"capture_output": True}
    return subprocess.run(call, env=env, cwd=file.parent, **streams)


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("kind", CALLS)
def test_names_that_are_no_text_are_printed_as_escapes(kind, file, tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "two  spaces\n.png").write_text("no picture")
    output = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    done = command(kind, file, str(tmp_path), "--output", output)
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert b"restored 1 of 2 into " in done.stdout and rb"caf\udce9" in done.stdout
    (line,) = (line for line in done.stderr.splitlines() if b"left out:" in line)
    assert rb"two  spaces\n.png: " in line  # as it is called
    assert os.listdir(os.fsencode(output)) == [b"a.png"]


@pytest.mark.parametrize("kind", CALLS)
def test_closed_streams_are_none_of_the_files_that_are_written(kind, file, tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    words = (str(tmp_path), "--output", str(tmp_path / "out"))
    done = command(kind, file, *words, shell="<&- >&- 2>&-")
    assert done.returncode == 1 and done.stdout == done.stderr == b""
    with Image.open(tmp_path / "out" / "a.png") as picture:
        picture.load()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_messages_of_libraries_end_in_no_file(tmp_path):
    code = """if True:
        import os, sys
        from elir_jax.commands.streams import hold
        hold()
        with open(sys.argv[1], "w") as file:
            os.write(1, b"noise")
            os.write(2, b"noise")
            file.write("picture")
    """
    call = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(
        [*call, str(tmp_path / "file")], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0 and (tmp_path / "file").read_text() == "picture"


@pytest.mark.parametrize("kind", CALLS)
def test_streams_that_nobody_reads_end_it_quietly(kind, file, tmp_path):
    draw(tmp_path / "a.png")
    reading, writing = os.pipe()
    os.close(reading)
    words = (str(tmp_path), "--output", str(tmp_path / "out"))
    done = command(kind, file, *words, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, b"Traceback" in done.stderr) == (141, False)


@pytest.mark.parametrize("kind", CALLS)
def test_what_cannot_be_written_is_named_and_the_others_are_done(kind, file, tmp_path):
    draw(tmp_path / "in" / "sub" / "p.png")
    draw(tmp_path / "in" / "z.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file where a folder should be")
    done = command(kind, file, str(tmp_path / "in"), "--output", str(tmp_path / "out"))
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert b"p.png: cannot be written" in done.stderr and b"restored 1 of 2" in done.stdout
    assert (tmp_path / "out" / "z.png").exists()


@pytest.mark.parametrize("kind", CALLS)
def test_mistakes_are_one_line(kind, file, tmp_path):
    done = command(kind, file, "no\x1bwhere.png", "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr == b"error: no\\x1bwhere.png: no such file or folder\n"


def test_a_line_is_one_line_and_keeps_every_other_character():
    assert one_line(" a  b\nc\x1b[2J\u00fc ") == r"a  b\nc\x1b[2J" + "\u00fc"
