from __future__ import annotations

from yusa import errors
from yusa.service.errors import OUTCOMES, UNKNOWN, outcome


def _every(kind: type[errors.YusaError]) -> set[type[errors.YusaError]]:
    return {kind}.union(*(_every(below) for below in kind.__subclasses__() if below.__module__ == errors.__name__))


def test_the_table_names_every_class_of_the_tree_and_no_other() -> None:
    assert set(OUTCOMES) == _every(errors.YusaError)


def test_exit_codes_and_statuses_are_of_the_promised_kinds() -> None:
    for kind, (exit_code, http_status) in OUTCOMES.items():
        assert exit_code == (
            2 if issubclass(kind, errors.UsageError) else 130 if kind is errors.RunInterruptedError else 1
        )
        assert 400 <= http_status < 600
        assert (http_status == 400) == issubclass(kind, errors.UsageError)


def test_a_class_that_is_not_in_the_table_is_treated_as_its_nearest_parent() -> None:
    class OwnError(errors.IndexLockedError):
        pass

    assert outcome(OwnError("x")) == OUTCOMES[errors.IndexLockedError]
    assert outcome(ZeroDivisionError("x")) == UNKNOWN == (1, 500)
