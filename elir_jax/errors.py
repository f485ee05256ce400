"""The exceptions for users: their message is one line that names the cause and the remedy."""

import errno

# The disk or the machine is at its limit: trying again would fail too.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE,
        errno.ENFILE}  # fmt: skip


class UserError(Exception):
    """An error in a command, a configuration or a file; shown without a traceback, exit code 2."""


def one_line(message: object) -> str:
    """Its lines as one; blanks inside a line stay, because names of files may have several."""
    return " ".join(line.strip() for line in str(message).strip().splitlines())


class DiskError(UserError):
    """The disk cannot be written; the process exits without trying again."""
