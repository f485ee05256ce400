"""The exceptions for users: their message is one line that names the cause and the remedy."""

import errno
import re

# The disk or the machine is at its limit: trying again would fail too.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE,
        errno.ENFILE}  # fmt: skip


class UserError(Exception):
    """An error in a command, a configuration or a file; shown without a traceback, exit code 2."""


def one_line(message: object) -> str:
    """The message as one line.

    An indented line joins the one before it. Other control characters, as names of files may hold,
    become escapes, and blanks inside a line stay.
    """
    text = re.sub(r"[ \t]*\n[ \t]+", " ", str(message).strip())
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


class DiskError(UserError):
    """The disk cannot be written; the process exits without trying again."""
