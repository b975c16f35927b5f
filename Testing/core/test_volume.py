from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.volume import LabelMap, Volume


def test_a_volume_may_have_channels(oblique):
    assert Volume(np.zeros((2, 4, 5, 6), np.float32), oblique).modality == ""


@pytest.mark.parametrize("array", [np.zeros((4, 5, 7)), np.zeros((5, 6)), np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), complex)])
def test_an_array_off_the_grid_or_without_numbers_is_refused(oblique, array):
    with pytest.raises(BadInput):
        Volume(array, oblique)


def test_labels_are_small_whole_numbers_on_the_grid(oblique):
    with pytest.raises(BadInput, match="int32"):
        LabelMap(np.zeros((4, 5, 6), np.int32), oblique)
    with pytest.raises(BadInput, match=r"\(1, 5, 6\)"):
        LabelMap(np.zeros((1, 5, 6), np.uint8), oblique)


def test_the_names_of_a_label_map_cannot_be_edited(oblique):
    labels = LabelMap(np.zeros((4, 5, 6), np.uint16), oblique, {np.int64(1): "liver"})
    assert dict(labels.names) == {1: "liver"}
    with pytest.raises(TypeError):
        labels.names[2] = "spleen"
