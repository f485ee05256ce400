"""The frame of the commands: what a mistake, a file's rights and a full disk become."""

import errno
import os
import sys

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


def test_other_trouble_is_no_mistake_of_the_users(left):
    with pytest.raises(OSError):
        frame.exit_code_of(lambda: refuse(errno.ENOTEMPTY), [])
    assert not left
