"""The one table from what went wrong to an exit code and an HTTP status."""

from __future__ import annotations

from typing import NamedTuple

from yusa import errors


class Outcome(NamedTuple):
    """How a failure ends a command and how it answers a request."""

    exit_code: int
    http_status: int


DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130

UNKNOWN = Outcome(FAILED, 500)
"""For what yusa did not raise on purpose."""

OUTCOMES: dict[type[errors.YusaError], Outcome] = {
    errors.YusaError: Outcome(FAILED, 500),
    errors.UsageError: Outcome(USAGE, 400),
    errors.FilterError: Outcome(USAGE, 400),
    errors.MissingDependencyError: Outcome(FAILED, 501),
    errors.InputError: Outcome(FAILED, 422),
    errors.RejectedInputError: Outcome(FAILED, 422),
    errors.EncoderError: Outcome(FAILED, 500),
    errors.EncoderNotFoundError: Outcome(FAILED, 422),
    errors.EncoderMismatchError: Outcome(FAILED, 409),
    errors.StorageError: Outcome(FAILED, 500),
    errors.IndexNotFoundError: Outcome(FAILED, 404),
    errors.IndexExistsError: Outcome(FAILED, 409),
    errors.IndexFormatError: Outcome(FAILED, 500),
    errors.IndexLockedError: Outcome(FAILED, 409),
    errors.DocumentNotFoundError: Outcome(FAILED, 404),
    errors.RunInterruptedError: Outcome(INTERRUPTED, 503),
}


def outcome(error: BaseException) -> Outcome:
    """The outcome of the error's nearest class in the table; `UNKNOWN` for what is not yusa's."""
    for kind in type(error).__mro__:
        if kind in OUTCOMES:
            return OUTCOMES[kind]
    return UNKNOWN
