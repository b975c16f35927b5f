"""Coordinates of a whole volume: any size, any margin of air, read at any point; and headers that lie are noticed."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import toy_model

from DiffSegCore.alignment import Placed, centroids, located, placed, spreads
from DiffSegCore.coordinates import CoordinateMap, CoordinateModel, coarse_grid, orientation_doubts, straight_fit
from DiffSegCore.data.cache import GridCase
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import BodyCoordinates, build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.segmenter import Segmenter

ARCHITECTURE = {"kind": "coordinates", "widths": [16, 16]}
PREPROCESSING = Preprocessing((2.5, 4., 4.), ((-1000., -1.), (1000., 1.)))
S = np.array([.002, .003, .001])  # units a mm


@pytest.fixture
def network() -> BodyCoordinates:
    torch.manual_seed(0)
    network = build(ARCHITECTURE).eval()
    for parameter in network.parameters():  # blocks start as the identity
        torch.nn.init.normal_(parameter, std=.1)
    return network


@pytest.fixture
def model(network) -> Model:
    return Model(network, ARCHITECTURE, PREPROCESSING, (), (32, 32, 32), {"name": "toy"})


def grid(shape=(40, 44, 48)) -> Geometry:
    matrix = np.diag([4., 4., 2.5, 1.])
    matrix[:3, 3] = -90, 30, 500
    return Geometry(shape, matrix)


def straight_map(signs=(1, 1, 1), turned=(0., 0., 0.), order=(0, 1, 2), planes=40) -> CoordinateMap:
    """u = S x along the axes, turned over or exchanged as wished."""
    coarse = coarse_grid(grid((planes, 44, 48)))
    ras = coarse.to_ras(np.stack(np.meshgrid(*map(np.arange, coarse.shape), indexing="ij"), -1))
    u = torch.from_numpy((ras[..., order] * S * signs).astype(np.float32)).movedim(-1, 0)
    return CoordinateMap(u, coarse, torch.ones(coarse.shape, dtype=torch.bool), 1., turned)


def body_image(shape=(40, 44, 48)) -> torch.Tensor:
    image = torch.full((1, *shape), -1.)
    image[:, 8:32, 8:36, 8:40] = torch.rand(24, 28, 32, generator=torch.Generator().manual_seed(0))
    return image


@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 7, 50), (4, 4, 4)])
def test_volumes_of_any_size_get_one_coordinate_for_64_voxels(network, shape):
    u, log_scale = network(torch.randn(2, 1, *shape))
    assert u.shape == (2, 3, *(-(-size // 4) for size in shape)) and log_scale.shape == (2,)


def test_scales_stay_between_four_fifths_and_five_fourths(network):
    network.size[-1].weight.data *= 1e4
    g = network(torch.randn(8, 1, 16, 16, 16))[1].exp()
    assert .8 - 1e-6 <= g.min() and g.max() <= 1.25 + 1e-6


def test_padding_the_volume_to_the_coarsest_stride_is_padding_it_with_air(network):
    image = body_image()[None]
    wider = torch.nn.functional.pad(image, (0, 0, 0, 4), value=-1.)  # 44 to 48, a multiple of 8
    torch.testing.assert_close(network(wider)[0][..., :11, :], network(image)[0])


def test_u_can_be_rescaled_once_and_keeps_its_slopes(network):
    image = body_image()[None]
    raw, slope = network(image)[0], network.slope.clone()
    network.low.fill_(.5)
    network.gain.fill_(2.)
    torch.testing.assert_close(network(image)[0], (raw - .5) * 2)
    torch.testing.assert_close(network.slope, slope * 2)


def test_air_round_the_patient_changes_nothing(model):
    image, mapper = body_image(), CoordinateModel(model, "cpu")
    wider = torch.nn.functional.pad(image, (9, 3, 5, 6, 2, 7), value=-1.)
    u = mapper.coordinates(image)
    assert u.shape == (3, 40, 44, 48)
    torch.testing.assert_close(mapper.coordinates(wider)[:, 2:42, 5:49, 9:57][:, 8:32, 8:36, 8:40], u[:, 8:32, 8:36, 8:40])


def test_a_point_has_the_coordinate_of_its_voxel(model):
    found = CoordinateModel(model, "cpu").map(body_image(), grid())
    whole = found.on(grid())
    kji = np.array([[10, 12, 14], [20, 22, 30]])
    np.testing.assert_allclose(found.at(grid().to_ras(kji)), whole[:, kji[:, 0], kji[:, 1], kji[:, 2]].T, atol=1e-5)


def test_linear_coordinates_stay_linear_between_coarse_voxels():
    found, kji = straight_map(), np.array([11.3, 20.1, 30.7])
    np.testing.assert_allclose(found.at(grid().to_ras(kji)), grid().to_ras(kji) * S, atol=1e-5)
    np.testing.assert_allclose(found.on(grid())[:, 11, 20, 30], grid().to_ras((11, 20, 30)) * S, atol=1e-5)


def test_a_model_file_brings_scale_and_kind_back(model, tmp_path):
    model.network.low.fill_(.25)
    save_model(model, tmp_path / "body.safetensors")
    again = load_model_file(tmp_path / "body.safetensors")
    assert again.organs == () and again.architecture["kind"] == "coordinates"
    torch.testing.assert_close(again.network(body_image()[None])[0], model.network(body_image()[None])[0])


def test_an_organ_model_gives_no_coordinates(tmp_path):
    with pytest.raises(BadInput, match="diffseg train body"):
        CoordinateModel(load_model_file(toy_model(tmp_path / "organs.safetensors")), "cpu")


def test_a_model_of_coordinates_segments_nothing(model):
    with pytest.raises(BadInput, match="'toy' names no organs"):
        Segmenter(model, "cpu")


@pytest.mark.parametrize("found, words", [
    (straight_map((1, 1, -1)), ["upside down"]),
    (straight_map((1, -1, 1)), ["turned over"]),
    (straight_map((1, -1, -1)), ["turned over", "upside down"]),
    (straight_map(turned=(.97, .1, .1)), ["Right and left look exchanged"]),
    (straight_map(turned=(.1, .1, .97)), ["upside down"]),
    (straight_map(order=(0, 2, 1)), ["does not follow the A axis", "does not follow the S axis"]),
    (straight_map(), []),
    (straight_map(turned=(.5, .5, .5)), []),
    (straight_map(turned=(.8, .1, .1)), []),
    (straight_map(turned=(.1, .1, .8), planes=80), ["upside down"]),
    (straight_map(turned=(.1, .1, .8)), []),
], ids=["k", "j", "j and k", "i", "k by opinion", "j for k", "right", "undecided", "hardly mirrored", "tall", "short"])
def test_a_volume_turned_against_its_header_is_doubted(found, words):
    doubts = orientation_doubts(found)
    assert len(doubts) == len(words) and all(word in doubt for word, doubt in zip(words, doubts)), doubts


def test_noise_instead_of_anatomy_is_doubted():
    noise = replace(straight_map(), u=torch.randn(3, 10, 11, 12))
    assert len(orientation_doubts(noise)) == 3
    nobody = replace(straight_map(), body=torch.zeros(10, 11, 12, dtype=torch.bool))
    assert "Too little" in orientation_doubts(nobody)[0]


def test_a_straight_line_is_fitted_axis_by_axis():
    ras, u = straight_map((1, 1, -1)).places()
    linear, explained = straight_fit(ras, u)
    np.testing.assert_allclose(linear, np.diag(S * (1, 1, -1)), atol=1e-7)
    np.testing.assert_allclose(explained, 1, atol=1e-6)


def a_patient(shift_units=(0., 0., 0.), *, at=(0., 100., 550.)) -> Placed:
    found = straight_map()
    return located("x", replace(found, u=found.u + torch.tensor(shift_units)[:, None, None, None]), {"larynx": np.array(at)})


def test_coordinates_that_rise_to_the_head_have_rank_correlation_1_and_no_error():
    patient = a_patient()
    assert patient.rank_correlation == pytest.approx(1) and patient.error_mm < 1e-3
    z, u = patient.profile()
    assert len(z) == 10 and (np.diff(z) > 0).all() and (np.diff(u) > 0).all()


def test_spread_is_counted_in_units_and_mm_and_alignment_shows():
    same, lower = a_patient(), a_patient(at=(0., 100., 530.))
    (aligned,) = spreads([same, replace(lower, centre_u=same.centre_u)])
    assert (aligned.n, aligned.mm) == (2, 0) and aligned.before_mm == pytest.approx(10)
    (apart,) = spreads([same, lower])
    assert apart.mm == pytest.approx(10, rel=1e-4) and apart.units[2] == pytest.approx(.01, rel=1e-3)


def test_an_organ_of_one_patient_has_no_spread():
    assert spreads([a_patient(), replace(a_patient(), centre_ras={}, centre_u={})]) == []


def test_a_cached_case_is_placed_with_its_organs(network):
    channels = np.zeros((40, 44, 48), np.uint8)
    channels[20, 20, 20:22] = 2
    case = GridCase("x", body_image()[0].numpy().astype(np.float16), channels, grid(), {2: np.argwhere(channels == 2)})
    np.testing.assert_allclose(centroids(case, ("larynx", "mandible"))["mandible"], grid().to_ras((20, 20, 20.5)))
    found = placed(case, ("larynx", "mandible"), network, PREPROCESSING, (32, 32, 32))
    assert set(found.centre_u) == {"mandible"} and found.u.shape == found.ras.shape and len(found.u) > 100
