"""Patches: repeatable, truly placed, mirrored with the organs' sides swapped, and honest about what was contoured."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.data.augmentation import Augmentation, refiltered, shaded
from DiffSegCore.data.cache import GridCase, cached_cases, grid_case
from DiffSegCore.data.cases import Case
from DiffSegCore.data.patches import Patches
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

PLAIN = Augmentation(rotation=0, scale=0, shear=0, shift=0, contrast=0, noise=0, mirror=False)
GRID = Geometry((12, 12, 12), np.diag([2., 2., 2., 1.]))
RECIPE = Preprocessing((2., 2., 2.), ((-1000., -1.), (1000., 1.)))
RIGHT, LEFT = 1, 2  # channels of a pair


def a_case(**places: int) -> GridCase:
    """A bright cube at low i is the right organ, one at high i the left organ; only those named are contoured."""
    image, channels = np.full((12, 12, 12), -1, np.float16), np.zeros((12, 12, 12), np.uint8)
    for name, (channel, start) in {"right": (RIGHT, 1), "left": (LEFT, 8)}.items():
        if name in places:
            image[4:8, 4:8, start:start + 3], channels[4:8, 4:8, start:start + 3] = 1, channel
    return GridCase("case", image, channels, GRID, {c: np.argwhere(channels == c) for c in np.unique(channels[channels > 0]).tolist()})


def test_a_patch_depends_on_its_number_and_seed_only():
    cases = [a_case(right=1, left=1)]
    first, again = (Patches(cases, 2, (8, 8, 8), seed=3).patch(7) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first.image, Patches(cases, 2, (8, 8, 8), seed=3).patch(8).image)


def test_a_batch_is_its_patches_whoever_asks():
    """Two processes with half a batch each see what one process sees."""
    patches = Patches([a_case(right=1)], 2, (8, 8, 8))
    whole, halves = patches.batch(4, 4), [patches.batch(4, 2), patches.batch(6, 2)]
    assert torch.equal(whole.image, torch.cat([half.image for half in halves]))


def test_image_and_labels_are_cut_at_the_same_place():
    """The image counts the voxels along i, and the organ begins at the twentieth: so the image tells where the label must be."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float16), (40, 40, 40))
    channels = (ramp >= 20).astype(np.uint8)
    case = GridCase("ramp", ramp, channels, Geometry(ramp.shape, np.eye(4)), {RIGHT: np.array([[20, 20, 20]])})
    turned = Augmentation(rotation=20, scale=.2, shear=.1, shift=0, contrast=0, noise=0, mirror=True)
    patches = Patches([case], 2, (8, 8, 8), augmentation=turned, on_organ=1)
    for number in range(20):
        image, target, _ = patches.patch(number)
        image, target = image[0, 1:-1, 1:-1, 1:-1], target[1:-1, 1:-1, 1:-1]  # a blurred patch has other values at its rim
        clear = (image - 19.5).abs() > .1
        assert torch.equal(target[clear] == RIGHT, image[clear] > 19.5)


def test_a_warp_moves_image_and_labels_alike():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float16), (40, 40, 40))
    channels = (ramp >= 20).astype(np.uint8)
    case = GridCase("ramp", ramp, channels, Geometry(ramp.shape, np.eye(4)), {RIGHT: np.array([[20, 20, 20]])})
    warp = Augmentation(0, 0, 0, 0, 0, 0, mirror=False, warp=2.)
    image, target, _ = Patches([case], 2, (12, 12, 12), augmentation=warp, on_organ=1).patch(1)
    clear = ((image[0] - 19.5).abs() > .6)[1:-1, 1:-1, 1:-1]
    assert torch.equal((target == RIGHT)[1:-1, 1:-1, 1:-1][clear], (image[0] > 19.5)[1:-1, 1:-1, 1:-1][clear])
    assert (image[0, :, :, 6] - image[0, 0, 0, 6]).abs().max() > .5  # the plane is bent


def test_random_filters_change_how_tissues_look_and_not_where_they_lie():
    image, rises = torch.zeros(1, 16, 16, 24), []
    image[..., 12:] = 1
    for seed in range(8):
        found = refiltered(image, np.random.default_rng(seed))
        torch.testing.assert_close((found.mean(), found.std()), (image.mean(), image.std()), atol=1e-3, rtol=0)
        dark, bright = found[0, 6:10, 6:10, 5:7], found[0, 6:10, 6:10, 17:19]  # further from every edge than the filters reach
        torch.testing.assert_close(dark, dark[0, 0, 0].expand_as(dark))
        torch.testing.assert_close(bright, bright[0, 0, 0].expand_as(bright))
        rises.append(float(bright[0, 0, 0] - dark[0, 0, 0]))
    assert min(rises) < 0 < max(rises) and np.ptp(rises) > .5, "what was brighter is darker in some"


def test_an_uneven_coil_changes_tissue_and_leaves_air():
    image = torch.full((1, 8, 8, 8), .2)
    image[:, :4] = -1
    shaded_image = shaded(image, Augmentation(0, 0, 0, 0, 0, 0, mirror=False, gamma=.4, bias=.4), np.random.default_rng(2))
    assert (shaded_image[:, 1:3] == -1).all() and shaded_image[:, 5:].std() > .01


def test_a_mirrored_patch_swaps_right_and_left_and_what_was_drawn():
    patches = Patches([a_case(right=1)], 2, (12, 12, 12), paired=[(RIGHT, LEFT)], augmentation=Augmentation(0, 0, 0, 0, 0, 0, mirror=True),
                      on_organ=1)
    seen = {(target.amax().item(), tuple(known.tolist())) for _, target, known in map(patches.patch, range(30))}
    assert seen == {(RIGHT, (True, True, False)), (LEFT, (True, False, True))}


def test_a_rarely_contoured_organ_is_seen_as_often_as_others():
    cases = [a_case(right=1) for _ in range(9)] + [a_case(left=1)]
    patches = Patches(cases, 2, (4, 4, 4), augmentation=PLAIN, on_organ=1)
    left = sum(bool(patches.patch(n).known[LEFT]) for n in range(200))
    assert 70 < left < 130


def test_outside_the_volume_is_air():
    image, target, _ = Patches([a_case(right=1)], 2, (40, 40, 40), augmentation=PLAIN).patch(0)
    assert image[0, 0, 0, 0] == -1 and target[0, 0, 0] == 0


def test_a_case_comes_from_the_cache_as_it_was_computed(tmp_path):
    volume = Volume(np.random.default_rng(0).integers(-200, 200, (12, 12, 12)).astype(np.int16), GRID)
    ids = np.zeros((12, 12, 12), np.uint8)
    ids[4:8, 4:8, 4:8] = 3
    write_volume(volume, tmp_path / "ct.nii.gz")
    write_labels(LabelMap(ids, GRID, {3: "liver"}), tmp_path / "label.nii.gz")
    cases = [Case("one", tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz")]
    made, found = (cached_cases(cases, {3: "liver"}, ["spleen", "liver"], RECIPE, tmp_path / "cache")[0] for _ in range(2))
    np.testing.assert_array_equal(made.image, found.image)
    assert set(found.places) == {2} and found.channels.max() == 2
    assert found.geometry == made.geometry


def test_labels_outside_the_table_and_on_another_grid_are_refused_with_the_cases_name():
    volume = Volume(np.zeros((12, 12, 12), np.int16), GRID)
    labels = LabelMap(np.full((12, 12, 12), 9, np.uint8), GRID, {})
    with pytest.raises(BadInput, match=r"case a1.*\[9\]"):
        grid_case("a1", volume, labels, ["liver"], RECIPE, {1: "liver"})
    shifted = LabelMap(labels.ids[1:], Geometry((11, 12, 12), np.eye(4)), {})
    with pytest.raises(BadInput, match="case a1.*grid"):
        grid_case("a1", volume, shifted, ["liver"], RECIPE, {9: "liver"})
