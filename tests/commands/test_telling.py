"""The frame of the commands: what a mistake, a file's rights and a full disk become."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elir_jax.commands import console, frame


@pytest.fixture
def left(monkeypatch):
    """What was said where a process left at once."""
    messages = []

    def leave(message):
        messages.append(message)
        sys.exit(2)

    monkeypatch.setattr(console, "_exit_now", leave)
    return messages


def refuse(number):
    raise OSError(number, os.strerror(number), "private.png")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_file_that_may_not_be_read_is_one_line_and_no_failing_disk(number, left, capsys):
    assert frame.exit_code_of(lambda: refuse(number), []) == 2 and not left
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: private.png: ") and "saved" not in line


def test_a_full_disk_ends_the_process_at_once(left):
    with pytest.raises(SystemExit):
        frame.exit_code_of(lambda: refuse(errno.ENOSPC), [])
    assert left == ["private.png: No space left on device; what was saved is not lost"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_an_error_that_names_no_file_is_told_with_what_is_full(number, left, monkeypatch):
    full = os.path.abspath("/dev/shm")
    free = lambda place: shutil._ntuple_diskusage(9, 9, 0 if place == full else 2**30)  # noqa: E731
    monkeypatch.setattr(console, "disk_usage", free)

    def command():
        raise OSError(number, "there is none")

    with pytest.raises(SystemExit):
        frame.exit_code_of(command, [])
    place = full if number == errno.ENOSPC else "this process (ulimit -n)"
    assert left == [f"{place}: there is none; what was saved is not lost"]


@pytest.mark.parametrize("platform", ["rocm", "nothing"])
def test_a_device_that_is_not_there_is_one_line(platform):
    code = """if True:
        import sys
        from elir_jax.commands import frame
        def command():
            import jax
            return jax.process_index()
        sys.exit(frame.exit_code_of(command, []))"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"JAX_PLATFORMS": platform},
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: JAX_PLATFORMS={platform}: ")
    assert done.stderr.count("\n") == 1 and "unset it" in done.stderr


def test_a_name_with_two_blanks_is_told_as_it_is(capsys):
    frame.fail("a  b.png: bad\n   in two lines\n")
    assert capsys.readouterr().err == "error: a  b.png: bad in two lines\n"


def test_other_trouble_is_no_mistake_of_the_users(left):
    with pytest.raises(OSError):
        frame.exit_code_of(lambda: refuse(errno.ENOTEMPTY), [])
    assert not left
