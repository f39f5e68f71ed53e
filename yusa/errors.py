"""The one tree of errors. `service.errors` holds the one table from these classes to exit codes and HTTP statuses.

Every message says what failed, on what, and what to do.
"""

from __future__ import annotations


class YusaError(Exception):
    """Base of every error yusa raises on purpose."""


class UsageError(YusaError):
    """An argument, option or value that cannot be right, whatever the index holds."""


class FilterError(UsageError):
    """A `where` expression that cannot be understood; the message has the expression and a caret under the mistake."""


class MissingDependencyError(YusaError):
    """An optional package is not installed; the message holds the command that installs it."""


class InputError(YusaError):
    """Input that cannot be read at all (a missing file, an encoding that cannot be told)."""


class RejectedInputError(InputError):
    """`strict` was asked for and at least one row was rejected; nothing was committed. `report` says which rows."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class EncoderError(YusaError):
    """An encoder that cannot be loaded or cannot do what is asked of it."""


class EncoderNotFoundError(EncoderError):
    """No packaged model, directory, cached or hub model has this name."""


class EncoderMismatchError(EncoderError):
    """The encoder is not the one the index was made with; the message names each part that differs."""


class StorageError(YusaError):
    """The index directory cannot be used as asked."""


class IndexNotFoundError(StorageError):
    """There is no index at this path."""


class IndexExistsError(StorageError):
    """There is an index at this path already."""


class IndexFormatError(StorageError):
    """The index was written by a newer or unknown version, or its database is damaged."""


class IndexLockedError(StorageError):
    """Another process is writing; the message names its pid."""


class DocumentNotFoundError(StorageError):
    """No document has this id."""


class RunInterruptedError(YusaError):
    """The user asked to stop; everything committed before stays."""
