"""Pictures and their masks, and images of several channels, as cases."""
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from DiffSegCore.data.cases import read_dataset
from DiffSegCore.data.images2d import read_mask, read_picture, write_mask, write_picture
from DiffSegCore.data.sources import read_image, read_truth
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_volume

COLOURS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
MASK = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


def picture_set(root: Path, *, masks: tuple[str, ...] = ("a", "b")) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name in ("a", "b"):
        write_picture(COLOURS, root / "images" / f"{name}.png")
    for name in masks:
        write_picture(MASK * 255, root / "masks" / f"{name}.png")
    return root


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_a_coloured_picture_is_three_channels_of_one_plane(tmp_path, suffix):
    write_picture(COLOURS, tmp_path / f"a{suffix}")
    volume = read_picture(tmp_path / f"a{suffix}")
    assert volume.array.shape == (3, 1, 2, 3) and volume.geometry.spacing == (1, 1, 1) and volume.modality == "picture"
    np.testing.assert_array_equal(volume.array[:, 0].transpose(1, 2, 0), COLOURS)


def test_a_grey_picture_is_one_plane_and_keeps_16_bits(tmp_path):
    deep = np.array([[0, 40_000]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.tif").array, deep[None])


def test_a_jpeg_is_read_and_alpha_is_dropped(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.jpg")
    Image.fromarray(COLOURS).convert("RGBA").save(tmp_path / "b.png")
    assert read_picture(tmp_path / "a.jpg").array.shape == read_picture(tmp_path / "b.png").array.shape == (3, 1, 2, 3)


@pytest.mark.parametrize("factor", [1, 255])
def test_a_mask_of_black_and_white_is_one_object_and_comes_back_from_a_file(tmp_path, factor):
    write_picture(MASK * np.uint8(factor), tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(mask.ids[0], MASK)
    write_mask(mask, tmp_path / "again.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "again.png").ids, mask.ids)
    assert np.array(Image.open(tmp_path / "again.png")).max() == 255 and dict(mask.names) == {1: "object"}


def test_greys_of_a_mask_are_ids(tmp_path):
    several = LabelMap(MASK[None] * np.uint8(3), Geometry((1, 2, 3), np.eye(4)), {3: "liver"})
    write_mask(several, tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").ids, several.ids)


def test_pictures_and_masks_are_cases(tmp_path):
    dataset = read_dataset(picture_set(tmp_path / "train").parent)
    assert [case.name for case in dataset.cases["train"]] == ["a", "b"] and dataset.labels == {1: "object"}
    assert read_truth(dataset.cases["train"][0].label).ids.sum() == 3


def test_pictures_without_splits_and_masks_with_their_own_ending_are_cases_too(tmp_path):
    root = picture_set(tmp_path, masks=("a_mask", "b_mask"))
    assert {case.name: case.label.name for case in read_dataset(root).cases["train"]} == {"a": "a_mask.png", "b": "b_mask.png"}


def test_a_mask_without_a_picture_and_a_picture_without_a_mask_are_named(tmp_path):
    with pytest.raises(BadInput, match="1 of 2 train cases have no label file, the first is b"):
        read_dataset(picture_set(tmp_path / "one", masks=("a",)))
    with pytest.raises(BadInput, match="c.png"):
        read_dataset(picture_set(tmp_path / "two", masks=("a", "b", "c")))


@pytest.mark.parametrize("content, words", [(b"nothing", "damaged or not a picture"), (None, "no picture")])
def test_what_is_no_picture_is_a_sentence(tmp_path, content, words):
    if content:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_picture(tmp_path / "a.png")


def test_a_mask_with_jpegs_greys_is_refused_and_none_is_written_as_jpeg(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    write_picture(noise, tmp_path / "m.png")
    with pytest.raises(BadInput, match="different greys"):
        read_mask(tmp_path / "m.png")
    with pytest.raises(BadInput, match="JPEG would blur it"):
        write_mask(LabelMap(MASK[None], Geometry((1, 2, 3), np.eye(4))), tmp_path / "m.jpg")


def test_four_channels_are_one_file_or_four(tmp_path):
    rng, grid = np.random.default_rng(1), Geometry((2, 3, 4), np.diag([1., 2., 3., 1.]))
    array = rng.integers(0, 99, (4, 2, 3, 4)).astype(np.int16)
    files = [tmp_path / f"c{n}.nii.gz" for n in range(4)]
    for channel, path in zip(array, files):
        write_volume(Volume(channel, grid), path)
    whole = nib.Nifti1Image(array.T, None)
    whole.set_sform(grid.ijk_to_ras, 1)
    nib.save(whole, tmp_path / "all.nii.gz")
    for source in (files, tmp_path / "all.nii.gz"):
        volume = read_image(source)
        np.testing.assert_array_equal(volume.array, array)
        assert volume.geometry.same_grid(grid)


def test_channels_on_different_grids_are_refused(tmp_path):
    for name, shape in (("a", (2, 3, 4)), ("b", (2, 3, 5))):
        write_volume(Volume(np.zeros(shape, np.int16), Geometry(shape, np.eye(4))), tmp_path / f"{name}.nii.gz")
    with pytest.raises(BadInput, match="another grid"):
        read_image([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])
