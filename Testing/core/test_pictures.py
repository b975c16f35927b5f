"""The picture shows organs where they are, as radiologists hang them."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.organ_volumes import organ_volumes, write_csv
from DiffSegCore.pictures import cuts, draw, save_picture
from DiffSegCore.pictures3d import BACKGROUND, Camera, skin_of, surfaces
from DiffSegCore.volume import LabelMap, Volume

RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def grid(*axes_ras: tuple[float, float, float], shape=(24, 24, 24), mm=4.0) -> Geometry:
    """A cube round the origin whose i, j and k axes run along the given directions."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.transpose(axes_ras) * mm
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Geometry(shape, matrix)


STRAIGHT = grid((1, 0, 0), (0, 1, 0), (0, 0, 1))
FLIPPED = grid((0, 0, -1), (-1, 0, 0), (0, 1, 0))
TURNED = grid((0.8, 0.6, 0), (-0.6, 0.8, 0), (0, 0, 1))


def blocks(geometry: Geometry, **centres_ras: tuple[float, float, float]) -> LabelMap:
    """A cube of 24 mm round each point."""
    points = geometry.to_ras(np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), -1))
    ids, names = np.zeros(geometry.shape, np.uint8), {}
    for id, (name, centre) in enumerate(centres_ras.items(), start=1):
        ids[(np.abs(points - centre) < 12).all(axis=-1)] = id
        names[id] = name
    return LabelMap(ids, geometry, names)


def centre_of(picture: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    """(row, column) 0..1 of the pixels in which that primary colour is the strongest by far."""
    channel = int(np.argmax(color))
    others = [c for c in range(3) if c != channel]
    where = np.argwhere(picture[..., channel] > picture[..., others].max(axis=-1) + 0.15)
    assert len(where) > 50
    return where.mean(axis=0) / picture.shape[:2]


@pytest.mark.parametrize("geometry", [STRAIGHT, FLIPPED, TURNED], ids=["straight", "flipped", "turned"])
def test_in_3d_the_patients_right_is_left_and_the_head_up(geometry):
    labels = blocks(geometry, right=(28, 0, -24), left=(-28, 0, 24))
    picture = surfaces(labels, {1: RED, 2: GREEN}, pixels=96, camera=Camera(0, 0))
    right, left = centre_of(picture, RED), centre_of(picture, GREEN)
    assert right[1] < 0.4 < 0.6 < left[1]
    assert left[0] < 0.4 < 0.6 < right[0]


def test_in_3d_what_is_in_front_hides_what_is_behind():
    labels = blocks(STRAIGHT, front=(0, 24, 0), behind=(0, -24, 0))
    colors = {1: RED, 2: GREEN}
    from_the_front = surfaces(labels, colors, pixels=64, camera=Camera(0, 0))
    from_the_back = surfaces(labels, colors, pixels=64, camera=Camera(180, 0))
    assert from_the_front[32, 32].argmax() == 0 and from_the_back[32, 32].argmax() == 1


def test_in_3d_an_organ_one_voxel_wide_does_not_vanish():
    ids = np.zeros(STRAIGHT.shape, np.uint8)
    ids[4:20, 12, 12] = 1
    picture = surfaces(LabelMap(ids, STRAIGHT, {1: "spinal_cord"}), {1: RED}, pixels=64, camera=Camera(0, 0))
    assert (picture[12:52, :, 0].max(axis=1) > 0.3).all()


def test_in_3d_nothing_is_drawn_of_an_organ_that_was_not_found():
    picture = surfaces(blocks(STRAIGHT), {5: RED}, pixels=32)
    np.testing.assert_allclose(picture, np.broadcast_to(BACKGROUND, picture.shape), atol=1e-6)


def test_the_skin_is_the_body_without_the_table_under_it():
    array = np.full(STRAIGHT.shape, -1000, np.int16)
    array[:, 8:18, 4:20] = 40  # the body
    array[:, 2, :] = 200  # the table, behind it
    skin, at = skin_of(Volume(array, STRAIGHT, "CT"))
    inside, table = (at.to_index(STRAIGHT.to_ras(kji)).round().astype(int) for kji in ((12, 13, 12), (12, 2, 12)))
    assert skin[tuple(inside)] > 0.9 and skin[tuple(table)] < 0.1


def test_mr_has_no_skin():
    assert skin_of(Volume(np.full(STRAIGHT.shape, -900, np.int16), STRAIGHT, "MR")) is None


@pytest.mark.parametrize("geometry", [STRAIGHT, FLIPPED, TURNED], ids=["straight", "flipped", "turned"])
def test_slices_run_through_the_organs_and_show_the_patients_right_on_the_left(geometry):
    labels = blocks(geometry, liver=(24, 8, -12))
    axial, coronal, sagittal = cuts(geometry, labels, organ_volumes(labels))
    np.testing.assert_allclose((sagittal.at_mm, coronal.at_mm, axial.at_mm), (24, 8, -12), atol=12)
    for cut, left_to_right, top_to_bottom in ((axial, (-1, 0, 0), (0, -1, 0)), (coronal, (-1, 0, 0), (0, 0, -1)), (sagittal, (0, -1, 0), (0, 0, -1))):
        across, down = cut.grid.to_ras((0, 0, 1)) - cut.grid.to_ras((0, 0, 0)), cut.grid.to_ras((0, 1, 0)) - cut.grid.to_ras((0, 0, 0))
        np.testing.assert_allclose(across / np.linalg.norm(across), left_to_right, atol=1e-9)
        np.testing.assert_allclose(down / np.linalg.norm(down), top_to_bottom, atol=1e-9)
    assert axial.edges == ("R", "L", "A", "P") and coronal.edges == ("R", "L", "S", "I") and sagittal.edges == ("A", "P", "S", "I")


def test_the_outline_lies_round_the_organ(tmp_path):
    labels = blocks(STRAIGHT, liver=(24, 8, -12))
    figure = draw(Volume(np.full(STRAIGHT.shape, -900, np.int16), STRAIGHT, "MR"), labels)
    axial = figure.axes[0]
    low, high = axial.collections[-1].get_paths()[0].vertices.min(axis=0), axial.collections[-1].get_paths()[0].vertices.max(axis=0)
    np.testing.assert_allclose(high - low, (24, 24), atol=4.5)
    ends = cuts(STRAIGHT, labels, organ_volumes(labels))[0].grid
    right, front = ends.to_ras((0, 0, 0))[:2]
    np.testing.assert_allclose((right - (low + high)[0] / 2, front - (low + high)[1] / 2), (24, 8), atol=2.5)


def test_a_picture_is_written_also_where_nothing_was_found(tmp_path):
    volume = Volume(np.zeros((3, 20, 20), np.int16), Geometry((3, 20, 20), np.diag([2.0, 2.0, 5.0, 1.0])), "CT")
    save_picture(tmp_path / "out.png", volume, LabelMap(np.zeros((3, 20, 20), np.uint8), volume.geometry, {}))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in tmp_path.iterdir()] == ["out.png"]


def test_a_picture_of_another_kind_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(BadInput, match=r"out\.bmp.*\.png"):
        save_picture(tmp_path / "out.bmp", None, None)


def test_organ_volumes_are_voxels_times_their_size(tmp_path):
    labels = blocks(STRAIGHT, liver=(24, 8, -12))
    labels = LabelMap(labels.ids, labels.geometry, {**labels.names, 9: "my implant"})
    liver, implant = organ_volumes(labels)
    assert liver.ml == pytest.approx((labels.ids == 1).sum() * 0.064) and liver.title == "Liver"
    assert implant.ml == 0 and implant.title == "My implant"
    write_csv((liver, implant), tmp_path / "volumes.csv")
    assert (tmp_path / "volumes.csv").read_text().splitlines() == ["id,name,title,ml", f"1,liver,Liver,{liver.ml:.3f}", "9,my implant,My implant,0.000"]
