"""Another tool's labels or chances, as a prior on a model's grid."""
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from DiffSegCore.data.prior_files import channels_of, chances_on_grid, label_prior, read_prior
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

GRID = Geometry((2, 3, 4), np.eye(4))
HALF = np.broadcast_to(np.array([.75, .25], np.float32)[:, None, None, None], (2, 2, 3, 4)).copy()


def write_chances(array: np.ndarray, path) -> None:
    image = nib.Nifti1Image(array.T, None)
    image.set_sform(GRID.ijk_to_ras, 1)
    nib.save(image, path)


def test_chances_come_from_npz_or_from_a_volume_with_a_fourth_axis(tmp_path):
    np.savez(tmp_path / "p.npz", probabilities=HALF)
    write_chances(HALF, tmp_path / "p.nii.gz")
    for name in ("p.npz", "p.nii.gz"):
        given = read_prior(tmp_path / name, GRID)
        assert isinstance(given, Volume)
        torch.testing.assert_close(chances_on_grid(given, GRID, 2), torch.from_numpy(HALF))
        torch.testing.assert_close(chances_on_grid(given, GRID, 1), torch.from_numpy(HALF[1:]))


def test_a_volume_of_fractions_is_chances_and_one_of_whole_numbers_is_labels(tmp_path):
    write_volume(Volume(HALF[1], GRID), tmp_path / "soft.nii.gz")
    write_labels(LabelMap(np.ones(GRID.shape, np.uint8), GRID, {1: "liver"}), tmp_path / "hard.nii.gz")
    assert isinstance(read_prior(tmp_path / "soft.nii.gz", GRID), Volume)
    assert isinstance(read_prior(tmp_path / "hard.nii.gz", GRID), LabelMap)


@pytest.mark.parametrize("array, words", [(HALF * 3, "from 0.75 to 2.25"), (HALF / 2, "do not sum to 1")])
def test_numbers_that_are_no_chances_are_refused(tmp_path, array, words):
    np.savez(tmp_path / "p.npz", array)
    with pytest.raises(BadInput, match=words):
        read_prior(tmp_path / "p.npz", GRID)


def test_another_grid_and_a_damaged_file_are_refused(tmp_path):
    write_labels(LabelMap(np.ones(GRID.shape, np.uint8), GRID), tmp_path / "hard.nii.gz")
    with pytest.raises(BadInput, match="another grid"):
        read_prior(tmp_path / "hard.nii.gz", Geometry((2, 3, 4), np.diag([1., 1., 2., 1.])))
    (tmp_path / "p.npz").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="p.npz"):
        read_prior(tmp_path / "p.npz", GRID)


def test_labels_are_matched_by_name_first_and_by_the_tables_ids_without_names():
    ids = np.zeros(GRID.shape, np.uint8)
    ids[0, 0], ids[0, 1], ids[0, 2] = 5, 7, 9
    named = LabelMap(ids, GRID, {5: "Mandible", 7: "Brainstem", 9: "my tumour"})
    channels, own = channels_of(named, ("brainstem", "mandible", "liver"))
    assert own == {1: 7, 2: 5, 3: 12}
    np.testing.assert_array_equal(channels[0, :, 0], [2, 1, 0])
    channels, own = channels_of(LabelMap(ids, GRID), ("brainstem", "mandible"))
    assert own == {1: 1, 2: 7}
    np.testing.assert_array_equal(channels[0, :, 0], [0, 2, 0])


def test_labels_become_chances_that_leave_room_for_doubt():
    channels = np.zeros(GRID.shape, np.uint8)
    channels[1] = 2
    soft, hard = label_prior(channels, 3, GRID, GRID)
    torch.testing.assert_close(soft.sum(0), torch.ones(GRID.shape))
    assert torch.equal(soft.argmax(0), hard.argmax(0)) and soft.max() < 1 and hard.max() == 1
    assert label_prior((channels > 0).astype(np.uint8), 1, GRID, GRID)[0].shape == (1, *GRID.shape)
