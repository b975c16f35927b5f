"""Folds of a cross-validation: every labelled case validates once, and the same folds come out whoever makes them."""
from __future__ import annotations

from pathlib import Path

import pytest

from DiffSegCore.data.cases import Case
from DiffSegCore.errors import BadInput
from DiffSegCore.training.folding import Fold
from DiffSegCore.training.probe_records import Wish


def splits(count: int) -> dict[str, list[Case]]:
    cases = [Case(f"p{n:02}", Path(f"p{n:02}.nii.gz"), Path(f"p{n:02}-label.nii.gz")) for n in range(count)]
    return {"train": cases[3:], "validation": cases[1:3], "test": cases[:1]}


def names(cases) -> set[str]:
    return {case.name for case in cases}


def test_every_case_validates_once_and_is_never_learnt_from_then():
    given = splits(24)
    folds = [Fold(k, 5).of(given) for k in range(1, 6)]
    everyone = names(given["train"]) | names(given["validation"])
    assert sorted(name for fold in folds for name in names(fold["validation"])) == sorted(everyone)
    assert all(names(fold["train"]) == everyone - names(fold["validation"]) and fold["test"] == given["test"] for fold in folds)


def test_folds_do_not_depend_on_the_order_of_files():
    given = splits(12)
    turned = {split: cases[::-1] for split, cases in given.items()}
    assert Fold(2, 3).of(given) == Fold(2, 3).of(turned)


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "5", "a/b", ""])
def test_what_is_no_fold_is_refused(text):
    with pytest.raises(BadInput, match="K/N"):
        Fold.parsed(text)


def test_more_parts_than_cases_are_refused():
    with pytest.raises(BadInput, match="4 labelled cases"):
        Fold(1, 5).of(splits(5))


def test_records_of_folds_have_names_of_their_own():
    assert Wish("random", "linear", fold=Fold.parsed("2/5")).name == "random-linear-100-0-fold-2-of-5"
    assert Wish("random", "linear").name == "random-linear-100-0"
