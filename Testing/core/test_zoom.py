"""How closely and where to look, decided from boxes, masks and grids alone."""
from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.geometry import Geometry
from DiffSegCore.zoom import at_least, coarser, framing, is_broad, refitted, thin_ends, useful, well_inside

from click_toys import ball, grid

LADDER = (1., 1.5, 2., 3., 4., 6., 8.)


def test_a_thin_end_is_where_a_tube_crosses_the_rim_and_the_volume_goes_on():
    crop, volume = Geometry((48, 48, 48), np.diag([3., 3., 3., 1.])), Geometry((400, 200, 200), np.diag([1., 1., 1., 1.]))
    tube, cap, trunk = (np.zeros((48, 48, 48), bool) for _ in range(3))
    tube[:, 20:24, 20:24] = True
    (end,) = thin_ends(tube, crop, volume)  # downwards the volume ends
    assert end.tolist() == pytest.approx([3 * 21, 3 * 21, 3 * (47 - 5)], abs=3)
    cap |= ball(crop, (30, 24, 24), 3 * 13.)  # its last slice but one lies in the rim
    trunk[:, 8:40, 8:40] = True
    assert thin_ends(cap, crop, volume) == [] and thin_ends(trunk, crop, volume) == []
    assert not well_inside(crop, end) and well_inside(crop, end - [0, 0, 3])


def test_a_broad_object_fills_much_of_what_a_crop_shows_along_every_axis():
    slab, whole = Geometry((40, 512, 512), np.eye(4)), Geometry((300, 300, 300), np.eye(4))
    assert is_broad((13, 25, 25), 3., slab, (48,) * 3) and not is_broad((13, 25, 25), 3., whole, (48,) * 3)
    assert not is_broad((13, 25, 20), 3., slab, (48,) * 3)


def test_framing_zooms_by_the_object_and_stays_fine_for_large_ones():
    def of(extent: float | None, whole: bool = False) -> float:
        piece = None if extent is None else np.array([[0., 0, 0], [extent, 5, 5]])
        return framing(piece, np.zeros((2, 3)), whole, LADDER, (48, 48, 48))[1]
    assert of(None) == 3 and of(20) == 1 and of(40) == 1.5 and of(57) == 2 and of(200) == 3
    assert of(200, whole=True) == 8 and of(20, whole=True) == 1
    long = np.array([[0., 0, 0], [100, 0, 0]])
    assert framing(None, long, False, LADDER, (48, 48, 48))[1] == 4


def test_a_prompt_beside_a_piece_is_taken_for_the_middle_of_what_is_missing():
    piece, beside = np.array([[0., 0, 0], [20, 20, 20]]), np.full((2, 3), 10.) + [[30, 0, 0]]
    middle, spacing = framing(piece, beside, False, LADDER, (48, 48, 48))
    assert spacing == 3 and middle[0] == 30  # from 0 to 40 and as far beyond as it lies from the piece


def test_the_ladder_ends_at_both_ends():
    assert at_least(.1, LADDER) == 1 and at_least(99, LADDER) == 8 and at_least(2., LADDER) == 2
    assert coarser(2., LADDER) == 4 and coarser(6., LADDER) == 8 and coarser(8., LADDER) is None


def test_a_tiny_new_object_is_looked_at_more_finely_and_a_broad_one_more_coarsely():
    def of(across, mm=.7, spacing=2.):
        return refitted(across, spacing, grid(mm=mm), LADDER, (48, 48, 48))
    assert of((3, 3, 3)) == 1 and of((3, 3, 3), mm=2.) is None
    assert of((9, 3, 3)) is None and of((0, 0, 0)) is None
    assert of((30, 24, 24), mm=2.) == 4 and of((40, 20, 20), mm=2.) is None and of((30, 24, 24), mm=9., spacing=8.) is None


def test_a_coarse_scan_is_not_looked_at_finely():
    assert useful(LADDER, grid(mm=5.)) == [3, 4, 6, 8] and useful(LADDER, grid(mm=.5)) == list(LADDER) and useful(LADDER, grid(mm=50.)) == [8]
