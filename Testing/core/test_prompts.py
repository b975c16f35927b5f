"""Prompts as values: what JSON keeps, what is refused, and which voxels they cover."""
from __future__ import annotations

import json

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.marks import Mark, away_mm, line, mark, region
from DiffSegCore.prompts import BoxPrompt, Lasso, Point, Prompt, Scribble, from_json, to_json

SQUARE = ((2., 2., 5.), (8., 2., 5.), (8., 8., 5.), (2., 8., 5.))
ALL = (Point(1, 3, True, (1., 2., 3.)), Scribble(2, 3, False, ((0., 0., 0.), (4., 0., 0.))), BoxPrompt(3, 1, True, ((0., 0., 0.), (5., 6., 7.))),
       Lasso(4, 2, True, SQUARE, 2.), Point(5, 1, False, (1, 1, 1), locked=(4, 2), region=Box((0, 0, 0), (3, 4, 5))))


def grid(shape: tuple[int, int, int] = (12, 12, 12), mm: float = 1.) -> Geometry:
    return Geometry(shape, np.diag([mm, mm, mm, 1.]))


@pytest.mark.parametrize("prompt", ALL, ids=lambda prompt: prompt.kind)
def test_a_prompt_survives_json(prompt):
    assert from_json(json.loads(json.dumps(to_json(prompt)))) == prompt


@pytest.mark.parametrize("change, words", [
    ({"kind": "circle"}, "circle"), ({"ras": [1, 2, float("nan")]}, "finite"), ({"ras": [1, 2]}, "three"), ({"ras": "abc"}, "three"), ({"ras": None}, "three"),
    ({"number": 1.5}, "whole"), ({"label": -1}, "whole"), ({"colour": "red"}, "unknown"), ({"region": [[0, 0], [1, 1]]}, "three"),
    ({"region": 7}, "start, stop"), ({"locked": ["liver"]}, "finite")])
def test_nonsense_is_refused_by_name(change, words):
    with pytest.raises(BadInput, match=words):
        from_json({**to_json(ALL[0]), **change})


def test_a_missing_entry_is_named():
    with pytest.raises(BadInput, match="missing \\['ras'\\]"):
        from_json({"kind": "point", "number": 1, "label": 1, "inside": True})


@pytest.mark.parametrize("make, words", [
    (lambda: Scribble(1, 1, True, ()), "1 places or more"), (lambda: Lasso(1, 1, True, (), 1.), "3 places"), (lambda: Lasso(1, 1, True, SQUARE[:2], 1.), "3 places"),
    (lambda: Lasso(1, 1, True, ((0, 0, 0), (1, 1, 1), (2, 2, 2)), 1.), "area"), (lambda: Lasso(1, 1, True, SQUARE, -1.), "negative depth"),
    (lambda: BoxPrompt(1, 1, True, ((0, 0, 0), (0, 0, 3))), "differ"), (lambda: Lasso(1, 1, True, SQUARE, float("inf")), "finite")])
def test_shapes_without_an_inside_are_refused(make, words):
    with pytest.raises(BadInput, match=words):
        make()


def test_a_line_has_no_gap_and_a_point_is_itself():
    along = line(Scribble(1, 1, True, ((0., 0., 0.), (7., 3., 0.), (7., 3., 9.))), grid())
    assert np.abs(np.diff(along, axis=0)).max() <= .5 and along[0].tolist() == [0, 0, 0] and along[-1].tolist() == [9, 3, 7]
    assert line(Point(1, 1, True, (1., 2., 3.)), grid(mm=.5)).tolist() == [[6, 4, 2]]


def test_a_lasso_covers_its_polygon_in_its_own_slice():
    box, covered = region(Lasso(1, 1, True, SQUARE, 0.), grid())
    mask = np.zeros((12, 12, 12), bool)
    mask[box.slices] = covered
    assert Box.of(mask).shape[1:] == (6, 6) and mask.sum() == 36 and mask[5].sum() == 36


def test_a_concave_lasso_leaves_its_bay_out():
    bay = ((1.5, 1.5, 5.), (9.5, 1.5, 5.), (9.5, 9.5, 5.), (5.5, 3.5, 5.), (1.5, 9.5, 5.))
    mask = mark(Lasso(1, 1, True, bay, 1.), grid()).mask
    assert mask[5, 2, 6] and mask[5, 7, 2] and mask[5, 7, 9] and not mask[5, 8, 5]


def test_a_lasso_in_a_slanted_plane_covers_voxels_near_that_plane_only():
    mask = mark(Lasso(1, 1, True, ((1., 1., 1.), (10., 1., 1.), (10., 10., 10.), (1., 10., 10.)), 1.), grid()).mask
    k, j, _ = np.nonzero(mask)
    assert mask.sum() > 80 and np.abs(k - j).max() <= 1


def test_a_box_counts_centres_and_a_flat_one_its_slice():
    assert mark(BoxPrompt(1, 1, True, ((1.6, 2.3, 3.), (6.4, 2.5, 5.))), grid()).mask.sum() == 5 * 3  # 2..6, j 2 (thinner than a voxel), 3..5
    flat = mark(BoxPrompt(1, 1, True, ((2., 2., 5.2), (6., 6., 5.2))), grid()).mask
    assert flat.sum() == 25 and flat[5].sum() == 25


def test_what_lies_outside_the_grid_covers_nothing():
    box, covered = region(BoxPrompt(1, 1, True, ((100., 100., 100.), (120., 120., 120.))), grid())
    assert box.is_empty and covered.size == 0
    assert not mark(BoxPrompt(1, 1, True, ((-50., -50., -50.), (-20., 20., 20.))), grid()).mask.any()


def test_a_prompt_of_no_kind_has_no_place():
    with pytest.raises(NotImplementedError):
        Prompt(1, 1, True).places


def test_a_click_is_as_far_away_as_a_scribble_at_the_same_place():
    crop = Geometry((6, 7, 8), np.diag([1., 2., 3., 1.]))
    place = np.array([[1.25, -2., 9.5]])  # kji, off the grid
    click, twice = Mark("point", True, place), Mark("scribble", True, np.repeat(place, 2, 0))
    assert np.allclose(away_mm(click, crop), away_mm(twice, crop))
    assert away_mm(click, crop)[1, 0, 0] == pytest.approx(np.hypot(.25 * 3, np.hypot(2 * 2, 9.5 * 1)))
