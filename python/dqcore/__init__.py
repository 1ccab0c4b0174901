"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError

__all__ = ["BackendError"]
