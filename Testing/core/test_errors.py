from __future__ import annotations

from DiffSegCore.errors import BadInput, Cancelled


def test_bad_input_is_a_value_error_so_that_callers_outside_need_not_know_it():
    assert issubclass(BadInput, ValueError)


def test_cancelling_is_not_an_error_of_the_input():
    assert not issubclass(Cancelled, (ValueError, OSError))
