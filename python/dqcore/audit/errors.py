"""Errors of files."""


class CorruptFileError(OSError):
    """A file is damaged, or is not what its name says; the message names the file and the place."""
