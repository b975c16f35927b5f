"""docs/Refining.md is what the records in docs/refining say, and the README's figures are from there."""
from __future__ import annotations

import json
from itertools import product
from statistics import fmean

import pytest
import torch
from benchmarks import refining_document
from benchmarks.refiner_curve import means
from benchmarks.refiner_judging import brier
from benchmarks.refiner_samples import limit
from benchmarks.refiner_table import overall

README, PAGE = (refining_document.RECORDS.parents[1] / name for name in ("README.md", "docs/Refining.md"))


def test_the_page_is_made_of_the_records():
    assert PAGE.read_text(encoding="utf-8") == refining_document.document()


@pytest.mark.parametrize("name", ["segmentor", "refiner", "control", "binary"])
def test_the_readme_quotes_the_vessels(name):
    scores = json.loads((refining_document.RECORDS / "vessels.json").read_text(encoding="utf-8"))["scores"][name]
    assert f"{fmean(each['Dice'] for each in scores):.3f}"[1:] in README.read_text(encoding="utf-8")


def test_the_readme_quotes_the_organ_head():
    head, refined = (json.loads((refining_document.RECORDS / "openkbp.json").read_text(encoding="utf-8"))[name] for name in ("head", "exact-1x1"))
    dice, nsd, nll = ([f"{overall(records, key):.3f}"[1:] for records in (head, refined)] for key in ("dice", "nsd", "nll"))
    said = " ".join(README.read_text(encoding="utf-8").split())
    assert f"mean Dice from {' to '.join(dice)} and NSD from {' to '.join(nsd)}" in said and f"NLL falls from {' to '.join(nll)}" in said


def test_the_readme_quotes_three_trainings():
    said = " ".join(README.read_text(encoding="utf-8").split())
    for what, other, key in (("Dice by", "head", "dice"), ("in NLL", "control", "nll")):
        found = []
        for name in refining_document.TRAININGS:
            packed = json.loads((refining_document.RECORDS / f"{name}.json").read_text(encoding="utf-8"))
            found.append(f"{overall(packed['exact-1x1'], key) - overall(packed[other], key):+.3f}".replace("0.", "."))
        assert f"{what} {found[0]}, {found[1]} and {found[2]}" in said


def test_the_readme_quotes_eight_samples_of_ten_steps():
    packed = json.loads((refining_document.RECORDS / "openkbp-third.json").read_text(encoding="utf-8"))
    exact, published = (f"{overall(packed[f'{kernel}-10x8'], 'dice'):.3f}"[1:] for kernel in ("exact", "plug-in"))
    one, many, look = (overall(packed[f"exact-{way}"], "brier") for way in ("10x1", "10x8", "1x1"))
    said = " ".join(README.read_text(encoding="utf-8").split())
    assert f"eight samples of ten {exact} and {published}" in said
    assert "four fifths is that one sample is only one" in said and round(5 * (one - limit(one, many, 8)) / (one - look)) == 4


def test_the_readme_quotes_priors_from_elsewhere():
    said = " ".join(README.read_text(encoding="utf-8").split())
    for name, rows in json.loads((refining_document.RECORDS / "priors.json").read_text(encoding="utf-8")).items():
        for wanted in (.5, .7, .9) if name == "openkbp" else (.7,):
            before, after = (fmean(row["dice"][n] for row in rows if row["wanted"] == wanted) for n in (0, 1))
            assert f"{before:.2f}"[1:] + " -> " + f"{after:.2f}"[1:] in said, name


def test_two_counts_of_samples_tell_the_error_of_endlessly_many():
    samples, count = (.1, .3, .8), 3  # chances of a voxel that belongs to the object, each as likely as another
    one, many = (fmean((fmean(drawn) - 1) ** 2 for drawn in product(samples, repeat=n)) for n in (1, count))
    assert limit(one, many, count) == pytest.approx((fmean(samples) - 1) ** 2)


def test_a_brier_score_is_the_squared_distance_from_the_truth():
    chances = torch.tensor([[.2, .1], [.7, .9], [.1, 0.]])
    assert brier(chances, torch.tensor([1, 0])) == pytest.approx(((.2**2 + .3**2 + .1**2) + (.9**2 + .9**2)) / 2)


def test_the_curve_goes_through_the_means_of_each_wanted_dice():
    rows = [{"wanted": wanted, "dice": dice} for wanted, dice in ((.9, [.88, .8]), (.5, [.5, .6]), (.9, [.92, .9]))]
    assert means(rows) == [pytest.approx((.5, .6)), pytest.approx((.9, .85))]
