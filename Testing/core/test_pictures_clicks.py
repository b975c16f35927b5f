"""The picture of a correction: colours where voxels changed, and the right side on the left."""
from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.pictures_clicks import Panel, save_click_picture
from DiffSegCore.volume import Volume

pytest.importorskip("matplotlib")
GRID = Geometry((5, 20, 20), np.diag([2., 2., 2., 1.]))  # I to the right, J to the front


def block(i: slice) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[1:4, 7:14, i] = True
    return mask


def test_what_was_added_on_the_patients_right_is_green_on_the_left_of_the_picture(tmp_path):
    from matplotlib.image import imread

    volume = Volume(np.zeros(GRID.shape, np.int16), GRID, "CT")
    panels = [Panel("click", block(slice(12, 18)), block(slice(2, 8)), (30., 20., 4.))]  # I rises to the right: added there, removed on the left
    save_click_picture(tmp_path / "clicks.png", volume, panels, (19., 19., 4.), 20.)
    red, green = (imread(tmp_path / "clicks.png")[..., channel] for channel in (0, 1))
    added, removed = np.argwhere(green - red > .2), np.argwhere(red - green > .2)
    assert len(added) > 500 and len(removed) > 500 and np.median(added[:, 1]) < np.median(removed[:, 1])


def test_doubt_is_laid_over_and_a_place_that_cannot_be_written_is_named(tmp_path):
    volume = Volume(np.zeros(GRID.shape, np.int16), GRID, "MR")
    panel = Panel("doubt", block(slice(5, 9)), doubt=np.full(GRID.shape, .6, np.float32))
    save_click_picture(tmp_path / "doubt.png", volume, [panel, panel], (19., 19., 4.), 20., title="Lump")
    assert (tmp_path / "doubt.png").stat().st_size > 1000
    with pytest.raises(BadInput, match="none"):
        save_click_picture(tmp_path / "none" / "doubt.png", volume, [panel], (19., 19., 4.), 20.)
