"""A volume in, labels on its own grid out, with a network that reads HU off like a table."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.laterality import IN_THE_MIRROR
from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.organ_volumes import organ_volumes
from DiffSegCore.organs import organ
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import Volume

RECIPE = Preprocessing((2.0, 2.0, 2.0), ((-1000, -1), (1000, 1)), "CT")


class ByIntensity(nn.Module):
    """Model value below -.3 is background, from there to .3 the first organ, above it the second."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2:] == (8, 8, 8)
        return torch.cat([-0.3 - image, 0.3 - (image - 0).abs(), image - 0.3], dim=1) * 20


@pytest.fixture
def model() -> Model:
    return Model(ByIntensity(), {}, RECIPE, ("spinal_cord", "mandible"), (8, 8, 8), {"field_of_view_mm": [[20, 20, 20], [80, 80, 80]]})


@pytest.fixture
def volume() -> Volume:
    matrix = np.diag([-1.0, 1.0, 2.0, 1.0])
    matrix[:3, 3] = 5, -7, 30
    hu = np.full((16, 36, 40), -1000, np.int16)
    hu[3:13, 8:28, 8:32] = 0
    hu[5:9, 12:20, 14:24] = 800
    return Volume(hu, Geometry(hu.shape, matrix), "CT")


def truth(volume: Volume) -> np.ndarray:
    ids = np.where(volume.array > 300, organ("mandible").id, organ("spinal_cord").id)
    return np.where(volume.array < -500, 0, ids)


def test_labels_lie_on_the_volumes_own_grid_with_ids_of_the_organ_table(model, volume):
    found = Segmenter(model, "cpu").segment(volume)
    assert found.labels.geometry is volume.geometry and found.labels.ids.dtype == np.uint8
    assert dict(found.labels.names) == {2: "spinal_cord", 7: "mandible"}
    assert (found.labels.ids == truth(volume)).mean() > 0.9
    assert (found.labels.ids == truth(volume))[:, 10:26:2, 16:20].mean() > 0.9
    assert found.logits.shape == (3, *found.geometry.shape) and found.geometry == volume.geometry.resampled(2.0)
    assert found.warnings == () and found.seconds > 0


def test_how_a_volume_is_stored_does_not_move_a_label(model, volume):
    turned = Volume(np.ascontiguousarray(volume.array.transpose(2, 0, 1)[::-1]),
                    Geometry((40, 16, 36), volume.geometry.ijk_to_ras @ np.array(
                        [[0, 0, -1, 39], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)), "CT")
    plain, found = (Segmenter(model, "cpu").segment(v).labels.ids for v in (volume, turned))
    np.testing.assert_array_equal(found[::-1].transpose(1, 2, 0), plain)


def test_a_cpu_looks_at_two_windows_at_once_and_never_at_one(model, volume):
    seen = []
    model.network.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    Segmenter(model, "cpu").segment(volume)
    windows = len(seen)
    Segmenter(model, "cpu").segment(volume, box=Box((4, 10, 10), (10, 20, 20)))
    assert set(seen) == {2} and len(seen) > windows > 1


def test_outside_a_given_box_is_background(model, volume):
    box = Box((4, 10, 10), (10, 20, 20))
    found = Segmenter(model, "cpu").segment(volume, box=box).labels.ids
    inner = box.grow(-2).slices
    np.testing.assert_array_equal(found[inner], Segmenter(model, "cpu").segment(volume).labels.ids[inner])
    found[box.grow(2).slices] = 0
    assert not found.any()


def test_progress_rises_through_all_stages_to_one(model, volume):
    told = []
    Segmenter(model, "cpu").segment(volume, progress=lambda fraction, stage: told.append((fraction, stage)))
    fractions, stages = zip(*told)
    assert list(fractions) == sorted(fractions) and fractions[-1] == 1.0
    assert [words.split()[0] for words in dict.fromkeys(stages)][:2] == ["Resampling", "Looking"]


def test_cancelling_unwinds(model, volume):
    def stop(fraction, stage):
        if stage.startswith("Looking"):
            raise Cancelled
    with pytest.raises(Cancelled):
        Segmenter(model, "cpu").segment(volume, progress=stop)


@pytest.mark.parametrize("change, words", [
    (lambda v: Volume(v.array, v.geometry, "MR"), "trained on CT"),
    (lambda v: Volume(np.full_like(v.array, -1000), v.geometry, "CT"), "No body"),
    (lambda v: Volume(v.array + np.int16(1024), v.geometry, "CT"), "no air"),
    (lambda v: Volume(v.array + np.int16(1024), Geometry(v.array.shape, np.diag([1.13, 1.13, 1.13, 1])), "CT"), "no air"),
    (lambda v: Volume(v.array, Geometry(v.array.shape, np.diag([1, 1, 6, 1])), "CT"), "6.0 mm"),
    (lambda v: Volume(v.array, Geometry(v.array.shape, np.diag([3, 1, 2, 1])), "CT"), "120 mm wide"),
    (lambda v: Volume(v.array[:6], v.geometry.crop(Box((0, 0, 0), (6, 36, 40))), "CT"), "12 mm high"),
], ids=["modality", "all air", "HU shifted", "HU shifted, and the model's grid reaches beyond the scan", "thick slices", "too wide", "too flat"])
def test_an_unsuitable_image_is_named_in_a_sentence(model, volume, change, words):
    warnings = Segmenter(model, "cpu").segment(change(volume)).warnings
    assert any(words in warning and warning.endswith(".") for warning in warnings), warnings


def test_a_gpu_short_of_memory_gets_one_smaller_try_and_says_so(volume):
    sizes = []

    class Hungry(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(image.shape[2:]))
            if image.shape[2] > 16:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return torch.cat([-image, image], dim=1)

    model = Model(Hungry(), {}, RECIPE, ("mandible",), (32, 32, 32))
    found = Segmenter(model, "cpu").segment(volume)
    assert set(sizes) == {(32, 32, 32), (16, 16, 16)} and "(16, 16, 16)" in found.warnings[0]


def test_what_cannot_be_segmented_is_refused(model, volume):
    with pytest.raises(BadInput, match="2 channels"):
        Segmenter(model, "cpu").segment(Volume(np.stack([volume.array] * 2), volume.geometry, "MR"))
    with pytest.raises(BadInput, match="outside the volume"):
        Segmenter(model, "cpu").segment(volume, box=Box((50, 0, 0), (60, 9, 9)))
    with pytest.raises(BadInput, match="no device"):
        Segmenter(model, "xpu")


def test_organs_of_an_unusual_size_raise_a_doubt_about_the_field_of_view(model, volume):
    found = {each.name: each.ml for each in organ_volumes(Segmenter(model, "cpu").segment(volume).labels)}
    usual = replace(model, card={"organ_ml": {name: [.8 * ml, 1.2 * ml] for name, ml in found.items()}})
    assert Segmenter(usual, "cpu").segment(volume).warnings == ()
    elsewhere = replace(model, card={"organ_ml": {name: [10 * ml, 12 * ml] for name, ml in found.items()}})
    (doubt,) = Segmenter(elsewhere, "cpu").segment(volume).warnings
    assert "2 of 2 organs" in doubt and "another part of the body" in doubt


class BySide(nn.Module):
    """What is bright is liver on one side and spleen on the other, as a network sees it that learnt where organs lie."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        side = (torch.arange(image.shape[-1]) >= image.shape[-1] / 2).float() * .4 - .2
        return torch.cat([.3 - image, image - .3 + side, image - .3 - side], dim=1) * 20


def trunk(mirrored: bool) -> Volume:
    """Much that is bright on one side, a little on the other."""
    hu = np.full((16, 16, 16), -1000, np.int16)
    hu[2:14, 2:14, 2:14] = 0
    hu[4:12, 4:12, 9:13] = hu[4:7, 4:7, 3:5] = 800
    return Volume(np.flip(hu, 2).copy() if mirrored else hu, Geometry(hu.shape, np.diag([2., 2., 2., 1.])), "CT")


def test_a_mirrored_trunk_is_noticed_by_sizes_that_are_usual_in_the_mirror_only():
    model = Model(BySide(), {}, RECIPE, ("liver", "spleen"), (16, 16, 16), {})
    one, other = (Segmenter(model, "cpu").segment(trunk(mirrored)).labels for mirrored in (False, True))
    straight, turned = ({each.name: each.ml for each in organ_volumes(labels)} for labels in (one, other))
    assert straight["liver"] > 5 * straight["spleen"] > 0 and turned["spleen"] > 5 * turned["liver"] > 0, "it does not see the mirror by itself"
    told = Segmenter(replace(model, card={"organ_ml": {name: [.8 * ml, 1.2 * ml] for name, ml in straight.items()}}), "cpu")
    assert told.segment(trunk(False)).warnings == ()
    sizes, sides = told.segment(trunk(True)).warnings
    assert "usual size" in sizes and sides == IN_THE_MIRROR
    assert IN_THE_MIRROR not in told.segment(trunk(True), box=Box((0, 0, 0), (8, 16, 16))).warnings, "a part has odd sizes anyway"


def test_organs_that_are_not_in_the_table_keep_the_users_names(model, volume):
    own = replace(model, organs=("my_cyst", "mandible"))
    assert dict(Segmenter(own, "cpu").segment(volume).labels.names) == {200: "my_cyst", 7: "mandible"}


def carrying(helps: bool, *, flat: bool = False) -> Model:
    """An organ network of random weights with a refiner of random weights in it."""
    torch.manual_seed(2)
    plane = {"spatial_dims": 2, "in_channels": 3} if flat else {}
    refiner = {"classes": 2, "widths": [8, 8, 16], "step_widths": [8, 8], "feature_widths": [0, 8], "image_channels": 3 if flat else 1,
               "spatial_dims": 2 if flat else 3}
    architecture = {"kind": "organs", "organs": 1, "encoder": {"widths": [8, 8, 16], **plane}, "refiner": refiner}
    network = build(architecture).eval()
    for weight in network.parameters():
        weight.data += .3 * torch.randn_like(weight)
    card = {"refiner": RefinerCard(organs=("mandible",), levels=10, helps=helps).to_dict()}
    recipe = Preprocessing((1., 1., 1.), ((0, -1), (255, 1)), "picture") if flat else RECIPE
    return Model(network, architecture, recipe, ("mandible",), (1, 8, 8) if flat else (8, 8, 8), card)


def test_a_carried_refiner_betters_the_head_only_if_its_card_says_that_it_does(volume):
    plain, other, refined = (Segmenter(carrying(helps), "cpu", refine=refine).segment(volume).logits
                             for helps, refine in ((False, True), (True, False), (True, True)))
    torch.testing.assert_close(plain, other, rtol=0, atol=0)
    changed = (refined != plain).any(0)
    assert 0 < changed.sum() < changed.numel()
    again = Segmenter(carrying(True), "cpu").segment(volume).logits
    torch.testing.assert_close(again, refined, rtol=0, atol=0)


def test_a_refiner_leaves_what_lies_outside_a_given_box(volume):
    box = Box((4, 10, 10), (10, 20, 20))
    found = Segmenter(carrying(True), "cpu").segment(volume, box=box).labels.ids
    found[box.grow(2).slices] = 0
    assert not found.any()


def test_a_picture_is_segmented_and_refined_by_flat_networks():
    colours = np.random.default_rng(0).integers(0, 255, (3, 1, 20, 30), dtype=np.uint8)
    picture = Volume(colours, Geometry((1, 20, 30), np.eye(4)), "picture")
    found = Segmenter(carrying(True, flat=True), "cpu").segment(picture)
    assert found.labels.ids.shape == (1, 20, 30) and found.logits.isfinite().all() and found.warnings == ()
    with pytest.raises(BadInput, match="1 channels, the model reads 3"):
        Segmenter(carrying(True, flat=True), "cpu").segment(Volume(colours[0], picture.geometry, "picture"))
