"""Where nobody names a model, the image does: the one that finds most of what it usually finds is taken."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from DiffSegCore import choosing
from DiffSegCore.choosing import candidates, fitting_model, share_found
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.reading import read_volume
from DiffSegCore.volume import Volume

CT = Preprocessing((5., 5., 5.), ((-1000., -1.), (1000., 1.)), "CT")
CUBE_ML = 125  # ml of a cube of ten voxels


class Seeing(nn.Module):
    """Calls what is as bright as `value` its organ."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, image: Tensor) -> Tensor:
        organ = (image - self.value).abs() < .05
        return torch.cat([torch.zeros_like(image), torch.where(organ, 9., -9.)], 1)


def seeing(hu: float, usual_ml: float | None) -> Model:
    card = {} if usual_ml is None else {"organ_ml": {"liver": [.5 * usual_ml, 1.5 * usual_ml]}}
    return Model(Seeing(hu / 1000), {}, CT, ("liver",), (16, 16, 16), card)


def a_body(organ_hu: float, side: int = 10, height: int = 24) -> Volume:
    """Water in air with a cube of another density in its middle, of `side` voxels of 5 mm."""
    array = np.full((height, 24, 24), -1000, np.int16)
    array[:, 4:20, 4:20] = 0
    array[(height - side) // 2:(height + side) // 2, 7:7 + side, 7:7 + side] = organ_hu
    return Volume(array, Geometry(array.shape, np.diag([5., 5., 5., 1.])), "CT")


def rows(*made: tuple[str, str, str]) -> list[dict]:
    return [{"name": name, "modality": modality, "kind": kind, "organs": ["liver"]} for name, modality, kind in made]


def image_of(volume: Volume) -> Tensor:
    return CT.values(torch.from_numpy(volume.array).float())[None]


def test_what_is_found_counts_by_what_usually_is():
    image = image_of(a_body(300))
    assert share_found(seeing(300, CUBE_ML), image) == pytest.approx(1, rel=.05)
    assert share_found(seeing(300, 4 * CUBE_ML), image) == pytest.approx(.25, rel=.05)
    assert share_found(seeing(700, CUBE_ML), image) == 0


def test_a_model_whose_card_tells_no_usual_volumes_finds_nothing_that_could_be_compared():
    assert share_found(seeing(300, None), image_of(a_body(300))) == 0


def test_a_body_higher_than_a_window_is_looked_at_above_below_and_in_the_middle():
    image = image_of(a_body(300, height=24))
    for move in (-30, 0, 30):
        high = torch.full((1, 90, 24, 24), -1.)
        high[:, :, 4:20, 4:20] = 0
        high[:, 33 + move:57 + move] = image
        assert share_found(seeing(300, CUBE_ML), high) > .5, move


def test_the_image_chooses_between_models_of_its_kind(monkeypatch):
    there = {"bones": seeing(700, CUBE_ML), "livers": seeing(300, CUBE_ML)}
    monkeypatch.setattr(choosing, "model_rows", lambda: rows(("bones", "CT", "organs"), ("livers", "CT", "organs")))
    monkeypatch.setattr(choosing, "load_model", there.__getitem__)
    assert fitting_model(a_body(300), "cpu") == "livers" and fitting_model(a_body(700), "cpu") == "bones"


def test_a_model_for_images_of_another_size_is_not_asked(monkeypatch):
    """A head of 12 cm is no abdomen, whatever is seen in it; if no model is for its size, the usual one is taken."""
    small, large = [[50, 50, 50], [200, 200, 200]], [[300, 300, 300], [900, 900, 900]]
    there = {name: seeing(300, usual_ml) for name, usual_ml in (("head-neck-ct", 9 * CUBE_ML), ("livers", CUBE_ML))}
    monkeypatch.setattr(choosing, "model_rows", lambda: rows(("head-neck-ct", "CT", "organs"), ("livers", "CT", "organs")))
    monkeypatch.setattr(choosing, "load_model", there.__getitem__)
    for sizes, chosen in (((small, small), "livers"), ((small, large), "head-neck-ct"), ((large, small), "livers"), ((large, large), "head-neck-ct")):
        for model, size in zip(there.values(), sizes):
            model.card["field_of_view_mm"] = size
        assert fitting_model(a_body(300), "cpu") == chosen


def test_one_model_of_the_kind_is_taken_unseen_and_without_any_the_usual_one(monkeypatch):
    monkeypatch.setattr(choosing, "load_model", lambda name: pytest.fail("loaded"))
    monkeypatch.setattr(choosing, "model_rows", lambda: rows(("only", "CT", "organs"), ("other", "MR", "organs")))
    assert fitting_model(a_body(300), "cpu") == "only"
    monkeypatch.setattr(choosing, "model_rows", lambda: rows(("other", "MR", "organs")))
    assert fitting_model(a_body(300), "cpu") == "head-neck-ct"


def test_candidates_are_organ_models_of_the_volumes_modality_the_usual_one_first():
    there = rows(("a", "CT", "organs"), ("head-neck-ct", "CT", "organs"), ("m", "MR", "organs"), ("clicks", "CT", "refiner"), ("p", "picture", "organs"))
    volume = a_body(300)
    assert candidates(volume, there) == ["head-neck-ct", "a"]
    unnamed = Volume(volume.array, volume.geometry)
    assert candidates(unnamed, there) == ["head-neck-ct", "a"], "values of air in HU are a CT's"
    assert candidates(Volume(volume.array + np.int16(1000), volume.geometry), there) == ["m"]
    assert candidates(Volume(volume.array, volume.geometry, "MR"), there) == ["m"]
    broken = [{"name": "broken", "error": "damaged"}]
    assert candidates(volume, [*broken, *there]) == ["head-neck-ct", "a"]


@pytest.mark.parametrize("file, model", [("ct_hn_openkbp/test/pt_242/ct.nii.gz", "head-neck-ct"), ("ct_abdomen/ts_example/ct.nii.gz", "abdomen-ct"),
                                         ("ct_abdomen/amos_0013_slab/ct.nii.gz", "abdomen-ct"), ("mr_abdomen_chaos_t2/31/mr.nii.gz", "abdomen-mr"),
                                         ("tests_small/cthead_dicom", "head-neck-ct")])
def test_real_scans_get_the_bundled_model_for_their_part_of_the_body(shared_data, file, model):
    assert fitting_model(read_volume(shared_data / file), "cpu") == model
