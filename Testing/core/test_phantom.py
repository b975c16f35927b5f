"""One seed is one patient: the same anatomy on every grid, with its left on the left."""

from __future__ import annotations


import numpy as np
import pytest
from stored import GRIDS, SUFFIXES, grid, middle, sampled, stored_phantom

from DiffSegCore.data import sample
from DiffSegCore.data.anatomy.labels import NAMES
from DiffSegCore.data.canvas import Canvas, Part, Pose
from DiffSegCore.data.phantom import phantom
from DiffSegCore.data.shapes import above, ellipsoid, on_the_left, slab, within
from DiffSegCore.geometry import Geometry
from DiffSegCore.organs import ORGANS
from DiffSegCore.reading import read_labels, read_volume
from DiffSegCore.resources import resource
from DiffSegCore.volume import LabelMap

HERE = Pose(np.eye(3), np.zeros(3))
COARSE = {"spacing_mm": (6.0, 6.0, 6.0), "shape": (46, 44, 52)}


def straight(shape, spacing=1.0, origin=(0, 0, 0)) -> Geometry:
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def painted(part: Part, geometry: Geometry) -> Canvas:
    canvas = Canvas(geometry, HERE, background=0.0)
    canvas.paint(part)
    return canvas


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.fixture(scope="module")
def patient():
    return phantom(4, **COARSE, noise_hu=0)


# the patient


def test_every_organ_is_there_under_its_name_in_the_organ_table(patient):
    _, labels = patient
    assert set(np.unique(labels.ids)) == {0, *NAMES}
    assert {id: ORGANS[name].id for id, name in labels.names.items()} == {id: id for id in NAMES}


@pytest.mark.parametrize("seed", range(6))
def test_no_patient_lacks_an_organ(seed):
    _, labels = phantom(seed, **COARSE)
    volumes_ml = {name: (labels.ids == id).sum() * 0.216 for id, name in labels.names.items()}
    assert min(volumes_ml.values()) > 3 and max(volumes_ml.values()) < 110, volumes_ml


def test_a_seed_is_repeatable_and_another_is_another_patient():
    (first, truth), (again, truth_again), (other, _) = (phantom(seed, **COARSE) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.array, again.array)
    np.testing.assert_array_equal(truth.ids, truth_again.ids)
    assert first.geometry == again.geometry
    assert (first.array != other.array).mean() > 0.1


def test_the_average_person_is_nobodys_seed_and_has_organs_of_middling_size(patient):
    sizes = [np.bincount(phantom(seed, **COARSE)[1].ids.ravel(), minlength=8)[1:] for seed in range(6)]
    _, labels = phantom(4, **COARSE, noise_hu=0, average=True)
    average = np.bincount(labels.ids.ravel(), minlength=8)[1:]
    assert (labels.ids != patient[1].ids).any()
    assert (average > 0.8 * np.min(sizes, 0)).all() and (average < 1.25 * np.max(sizes, 0)).all()


def test_left_is_left_in_ras(patient):
    _, labels = patient
    right, left, cord = (_centre(labels, name)[0] for name in ("parotid_gland_right", "parotid_gland_left", "spinal_cord"))
    assert right > cord + 30 and left < cord - 30


def test_organs_lie_as_in_people(patient):
    _, labels = patient
    _, front, up = np.array([_centre(labels, name) for name in NAMES.values()]).T
    brainstem, cord, parotid, _, esophagus, larynx, mandible = range(7)
    assert up[brainstem] > up[parotid] > up[mandible] - 10 > up[larynx] > up[esophagus]
    assert front[mandible] > front[larynx] > front[esophagus] > front[cord]


def test_tissues_have_the_hu_of_tissues(patient):
    volume, labels = patient
    mean = {name: volume.array[labels.ids == id].mean() for id, name in labels.names.items()}
    assert mean["mandible"] > 400 and -300 < mean["larynx"] < 50 and -60 < mean["parotid_gland_left"] < 60
    assert volume.array.dtype == np.int16 and volume.array.min() <= -990 and volume.modality == "CT"


def test_the_field_of_view_differs_between_patients():
    heights_mm = {round(phantom(seed, spacing_mm=(12.0, 12.0, 12.0))[0].geometry.extent_mm[0] / 50) for seed in range(8)}
    assert len(heights_mm) >= 3


def test_noise_can_be_switched_off_without_moving_anything(patient):
    still, truth = patient
    noisy, noisy_truth = phantom(4, **COARSE, noise_hu=40)
    np.testing.assert_array_equal(truth.ids, noisy_truth.ids)
    change = (noisy.array.astype(int) - still.array)[truth.ids > 0]
    assert abs(change.mean()) < 3 and 4 < change.std() < 40


# the same patient on other grids


@pytest.mark.parametrize("name", ["flipped", "left-handed", "permuted"])
def test_the_same_voxels_in_another_order_hold_the_same_patient(patient, name):
    volume, labels = patient
    other_volume, other = phantom(4, geometry=grid(name, volume.geometry), noise_hu=0)
    where = np.rint(other.geometry.to_index(volume.geometry.to_ras(np.argwhere(labels.ids >= 0)))).astype(int)
    np.testing.assert_array_equal(other.ids[tuple(where.T)], labels.ids.ravel())
    np.testing.assert_allclose(other_volume.array[tuple(where.T)], volume.array.ravel(), atol=2)


@pytest.mark.parametrize("name", ["oblique", "anisotropic", "fine"])
def test_a_point_has_one_label_whatever_grid_asks(patient, name):
    """One voxel of the straight grid after the other is asked again on a small grid turned about it."""
    _, labels = patient
    turned = grid(name, labels.geometry)
    rng = np.random.default_rng(0)
    for id in NAMES:
        voxel = rng.choice(np.argwhere(labels.ids == id))
        matrix = turned.ijk_to_ras.copy()
        matrix[:3, 3] += labels.geometry.to_ras(voxel) - turned.to_ras((1, 1, 1))
        _, small = phantom(4, geometry=Geometry((3, 3, 3), matrix), noise_hu=0)
        assert small.ids[1, 1, 1] == id


@pytest.mark.parametrize("name", ["oblique", "anisotropic", "fine"])
def test_other_grids_agree_as_far_as_their_voxels_allow(patient, name):
    """Voxels of 4 mm hold about .90 to .95 of an organ's outline; a shift by half a voxel would cost more."""
    base = straight((60, 56, 56), 4.0, _centre(patient[1], "mandible") - (112, 140, 120))
    common = middle(base, spacing_mm=4.0)
    truth = phantom(4, geometry=common, noise_hu=0)[1].ids
    ids = sampled(phantom(4, geometry=grid(name, base), noise_hu=0)[1], common)
    assert min(dice(ids == id, truth == id) for id in (1, 3, 4, 6, 7)) > 0.88


def test_volumes_do_not_depend_on_the_voxel_size(patient):
    centre = _centre(patient[1], "mandible") - (0, 30, 10)
    volumes_ml = []
    for spacing, shape in ((3.0, (60, 44, 44)), (1.5, (120, 88, 88))):
        grid_here = straight(shape, spacing, centre - (np.array(shape[::-1]) - 1) / 2 * spacing)
        ids = phantom(4, geometry=grid_here, noise_hu=0)[1].ids
        volumes_ml.append(np.array([(ids == id).sum() for id in NAMES]) * spacing**3 / 1000)
    np.testing.assert_allclose(volumes_ml[0], volumes_ml[1], rtol=0.03)


def test_a_coarse_voxel_is_about_the_mean_of_the_fine_ones_in_it(patient):
    fine = straight((60, 60, 60), 1.0, _centre(patient[1], "mandible") - (30, 30, 30))
    coarse = straight((15, 15, 15), 4.0, np.array(fine.origin) + 1.5)
    fine_hu, coarse_hu = (phantom(4, geometry=geometry, noise_hu=0)[0].array for geometry in (fine, coarse))
    blocks = fine_hu.reshape(15, 4, 15, 4, 15, 4).mean((1, 3, 5))
    assert np.abs(blocks - coarse_hu).mean() < 40 and abs((blocks - coarse_hu).mean()) < 8


# the brush


def test_a_plane_through_voxels_covers_them_by_the_right_share():
    half = slab((-9, -9, -9), (9, 9, 1.25), rounding_mm=0.01)
    column = painted(Part(half, ((0.0, 100.0),)), straight((4, 3, 3), origin=(-1, -1, 0)))
    np.testing.assert_allclose(column.image[:, 1, 1], [100, 75, 0, 0], atol=0.1)


def test_a_ball_has_its_volume_on_any_grid():
    ball = Part(ellipsoid((0, 0, 0), (10, 10, 10)), ((0.0, 1.0),), label=1)
    for spacing, tolerance in (((1.0, 1.0, 1.0), 0.01), ((4.0, 1.0, 2.0), 0.05)):   # a ramp for a curved surface
        matrix = np.diag([*spacing, 1.0])
        shape = tuple(int(30 / step) + 1 for step in spacing[::-1])
        matrix[:3, 3] = -0.5 * (np.array(shape[::-1]) - 1) * spacing + 0.3
        volume_ml = painted(ball, Geometry(shape, matrix)).image.sum() * np.prod(spacing) / 1000
        assert volume_ml == pytest.approx(4 / 3 * np.pi, rel=tolerance)


def test_coats_are_painted_inwards_and_only_the_shape_is_labelled():
    shell = Part(slab((-9, -9, -9), (9, 9, 0.5), rounding_mm=0.01), ((-1.0, 5.0), (0.0, 50.0), (2.0, 7.0)), label=3)
    canvas = painted(shell, straight((6, 3, 3), origin=(-1, -1, -3)))
    np.testing.assert_allclose(canvas.image[:, 1, 1], [7, 7, 50, 50, 5, 0], atol=0.1)
    np.testing.assert_array_equal(canvas.ids[:, 1, 1], [3, 3, 3, 3, 0, 0])


def test_a_shape_beyond_the_grid_leaves_it_alone():
    canvas = painted(Part(ellipsoid((99, 0, 0), (5, 5, 5)), ((0.0, 1.0),), label=1), straight((3, 3, 3)))
    assert not canvas.image.any() and not canvas.ids.any()


def test_shapes_are_mirrored_cut_and_held_inside_one_another():
    x = np.array([-5.0, -2.0, 2.0, 5.0])
    ball, zero = ellipsoid((4, 0, 0), (3, 3, 3)), np.zeros(4)
    assert (on_the_left(ball).field(x, zero, zero) < 0).tolist() == [True, True, False, False]
    assert (above(ball, (4, 0, 0), (1, 0, 0)).field(x, zero, zero) < 0).tolist() == [False, False, False, True]
    assert (within(ball, ellipsoid((0, 0, 0), (4, 4, 4)), 1.0).field(x, zero, zero) < 0).tolist() == [False, False, True, False]


# files


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", GRIDS)
def test_files_bring_the_patient_back_to_the_same_place(name, suffix, tmp_path):
    base = phantom(4, spacing_mm=(20.0, 20.0, 20.0), shape=(9, 8, 7))[0].geometry
    path, labels = stored_phantom(4, grid(name, base), tmp_path, name, suffix)
    expected = phantom(4, geometry=labels.geometry, noise_hu=0)[0]
    back = read_volume(path)
    assert back.modality in ("CT", "")
    where = labels.geometry.to_ras(np.argwhere(labels.ids >= 0))
    index = back.geometry.to_index(where)
    np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
    np.testing.assert_allclose(back.array[tuple(np.rint(index).astype(int).T)], expected.array.ravel(), atol=1e-3)


def test_the_shipped_sample_is_what_its_maker_makes():
    volume, labels = sample.sample()
    shipped, truth = read_volume(resource("Sample", "sample_ct.nii.gz")), read_labels(resource("Sample", "sample_labels.nii.gz"))
    assert shipped.geometry.same_grid(volume.geometry) and truth.names == labels.names
    assert (truth.ids != labels.ids).mean() < 1e-5
    assert np.abs(shipped.array.astype(int) - volume.array).mean() < 0.01


def test_the_maker_writes_the_sample_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SHAPE", (10, 10, 10))
    image, labels = sample.write_sample(tmp_path)
    assert read_volume(image).array.shape == read_labels(labels).ids.shape == (10, 10, 10)
    assert read_labels(labels).names == NAMES


def _centre(labels: LabelMap, name: str) -> np.ndarray:
    id = next(id for id, each in labels.names.items() if each == name)
    return labels.geometry.to_ras(np.argwhere(labels.ids == id)).mean(0)
