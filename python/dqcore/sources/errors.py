"""Errors of files."""


class CorruptFileError(OSError):
    """A file is damaged, or is not what its name says; the message names the file and the place."""


class SourceChangedError(OSError):
    """A file was written to, replaced or cut short while it was read; the message names it."""
