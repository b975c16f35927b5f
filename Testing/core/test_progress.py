from __future__ import annotations

import pytest

from DiffSegCore.errors import Cancelled
from DiffSegCore.progress import part, silent


def test_a_part_is_mapped_into_the_whole():
    heard = []
    report = part(lambda fraction, stage: heard.append((fraction, stage)), 0.25, 0.75)
    for fraction in (0.0, 0.5, 1.0):
        report(fraction, "Resampling")
    assert heard == [(0.25, "Resampling"), (0.5, "Resampling"), (0.75, "Resampling")]


def test_a_part_of_a_part_and_a_fraction_beyond_the_end_stay_inside():
    heard = []
    report = part(part(lambda fraction, _: heard.append(fraction), 0.5, 1.0), 0.0, 0.5)
    report(7.0, "")
    report(-1.0, "")
    assert heard == [0.75, 0.5]


def test_cancelling_passes_through_a_part():
    def cancel(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        part(cancel, 0.0, 1.0)(0.5, "Segmenting")


def test_silence_says_nothing(capsys):
    silent(0.5, "Segmenting")
    assert capsys.readouterr() == ("", "")
