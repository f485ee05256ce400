"""The exceptions a user is meant to read: one line that names the thing and the remedy."""


class UserError(Exception):
    """A mistake in a command, a configuration or a file; shown without a traceback, exit code 2."""


class DiskError(UserError):
    """The disk refuses to be written; the process leaves without trying it again."""
