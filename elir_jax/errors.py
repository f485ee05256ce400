"""The exceptions for users: their message is one line that names the cause and the remedy."""


class UserError(Exception):
    """An error in a command, a configuration or a file; shown without a traceback, exit code 2."""


class DiskError(UserError):
    """The disk cannot be written; the process exits without trying again."""
