"""What probes are trained on and scored by: features that do not depend on windows, pieces in their place, sides told apart."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DiffSegCore.data.cache import GridCase
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks.probes import LinearProbe
from DiffSegCore.training.probe_features import FeatureCase, Windows, averaged
from DiffSegCore.training.probe_patches import coordinates_at
from DiffSegCore.training.probe_pieces import Pieces, winners
from DiffSegCore.training.probe_reading import Reader, Reading, random_encoder
from DiffSegCore.training.probe_scores import score_case, summary
from DiffSegCore.training.probe_training import Probed

RIGHT, LEFT = 1, 2
CPU = torch.device("cpu")


def a_case(name: str = "case", shape: tuple[int, int, int] = (16, 16, 16), **places: int) -> GridCase:
    """Noise, with a cube of the right organ at low i and one of the left organ at high i; only those named are drawn."""
    image = np.random.default_rng(3).normal(0, .3, shape).astype(np.float16)
    channels = np.zeros(shape, np.uint8)
    for organ, (channel, start) in {"right": (RIGHT, 1), "left": (LEFT, 10)}.items():
        if organ in places:
            channels[4:8, 4:8, start:start + 4] = channel
    drawn = {c: np.argwhere(channels == c) for c in np.unique(channels[channels > 0]).tolist()}
    return GridCase(name, image, channels, Geometry(shape, np.diag([4., 4., 2.5, 1.])), drawn)


def features_of(case: GridCase, widths: tuple[int, ...] = (8, 16)) -> FeatureCase:
    random = np.random.default_rng(1)
    return FeatureCase(case, tuple(random.normal(size=(*(n >> level for n in case.image.shape), width)).astype(np.float16)
                                   for level, width in enumerate(widths)))


def test_while_frozen_no_gradient_reaches_the_encoder():
    network = Probed(Reader(random_encoder((8, 16)), None), LinearProbe((8, 16), 2)).freeze(True)
    network(torch.ones(1, 1, 8, 8, 8)).sum().backward()
    assert all(each.grad is None for each in network.reader.parameters()) and network.probe.read[0].linear.weight.grad is not None
    network.freeze(False)(torch.ones(1, 1, 8, 8, 8)).sum().backward()
    assert network.reader.network.stem.weight.grad is not None


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 20, 30)])
def test_a_volumes_features_cover_it_on_every_level(shape):
    read = lambda image, body: [image, torch.nn.functional.avg_pool3d(image, 2)]  # noqa: E731
    image = torch.randn(1, *shape)
    fine, coarse = averaged(read, image, None, Windows((16, 16, 16), 2, .25), CPU)
    torch.testing.assert_close(fine[: shape[0], : shape[1], : shape[2], 0], image[0])
    assert coarse.shape == (*(-(-n // 2) for n in shape), 1)
    assert (fine[shape[0]:] == -1).all()


def test_windows_lie_on_whole_cells_of_the_coarsest_level():
    windows = Windows((48, 48, 48), 8)
    starts = list(windows.starts(windows.grown((120, 68, 106))))
    assert all(a % 8 == 0 for start in starts for a in start)
    assert {k for k, _, _ in starts} == {0, 32, 64, 72} and {i for _, _, i in starts} == {0, 32, 64}


def test_a_guided_encoder_sees_the_coordinates_of_its_window():
    seen = []
    body = np.arange(6, dtype=np.float16).reshape(1, 6, 1, 1).repeat(3, 0).repeat(4, 2).repeat(4, 3)
    read = lambda image, told: (seen.append(told), [image])[1]  # noqa: E731
    averaged(read, torch.zeros(1, 22, 16, 16), body, Windows((16, 16, 16), 8, 0.), CPU)
    assert [window[0, :, 0, 0].tolist() for told in seen for window in told] == [[0, 1, 2, 3], [2, 3, 4, 5]]


def test_noise_belongs_to_the_voxel_and_the_level_sets_its_size():
    case = a_case(shape=(24, 24, 24))
    reading = Reading(2., "keyed")
    assert torch.equal(reading.image(case), reading.image(case))
    assert not torch.equal(reading.image(case), reading.image(replace(case, name="another")))
    added = reading.image(case) - reading.noiseless().image(case)
    assert added.std().item() == pytest.approx((1 - reading.keep) ** .5, rel=.05)
    assert torch.equal(Reading().image(case)[0], torch.from_numpy(case.image).float())
    with pytest.raises(BadInput, match="'white'"):
        Reading(2., "white")


def test_pieces_show_features_and_labels_of_the_same_place():
    case = a_case(right=1, left=1)
    place = np.arange(16.)[:, None, None, None] + np.zeros((16, 16, 16, 8))
    labelled = replace(case, channels=np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None] % 3, (16, 16, 16)))
    pieces = Pieces([FeatureCase(labelled, (place.astype(np.float16), place[::2, ::2, ::2].astype(np.float16)))], 2, (8, 8, 8), empty_is_undrawn=True, seed=0)
    for number in range(10):
        (fine, coarse), target, known = pieces.piece(number)
        assert torch.equal(fine[0] % 3, target.float()) and torch.equal(fine[0, ::2, ::2, ::2], coarse[0])
        assert known.tolist() == [True, True, True]
    batch = pieces.batch(2, 2)
    assert batch.pyramid[1].shape == (2, 8, 4, 4, 4) and torch.equal(batch.target[0], pieces.piece(2).target)


def test_a_whole_volume_slab_by_slab_is_the_whole_volume():
    torch.manual_seed(0)
    features = features_of(a_case(shape=(48, 16, 16)))
    probe = LinearProbe((8, 16), 2).eval()
    whole = probe([torch.from_numpy(np.array(level, np.float32)).movedim(-1, 0)[None] for level in features.levels])
    np.testing.assert_array_equal(winners(probe, features, CPU), whole[0].argmax(0))


def test_coordinates_are_looked_up_where_the_patch_lies_and_unknown_outside():
    body = np.stack(np.meshgrid(*(np.arange(4.),) * 3, indexing="ij")).astype(np.float16)  # cell numbers
    points = torch.from_numpy(np.stack(np.meshgrid(*(np.arange(8.) + 4,) * 3, indexing="ij"), -1).astype(np.float32))
    found = coordinates_at(body, points)
    assert found[0, :, 0, 0].tolist() == [1., 2.] and found[2, 0, 0].tolist() == [1., 2.]
    assert coordinates_at(body, points + 8)[0, :, 0, 0].tolist()[0] == 3. and coordinates_at(body, points + 8).isnan()[0, 1].all()
    assert coordinates_at(None, points).isnan().all()


def test_dice_and_confused_sides_are_counted_over_what_was_drawn():
    case = a_case(right=1, left=1)
    found = case.channels.copy()
    found[4:8, 4:8, 1] = LEFT  # a quarter of the right organ on the wrong side
    score = score_case(case, found, ("parotid_gland_right", "parotid_gland_left"), [(RIGHT, LEFT)], True)
    assert score.dice["parotid_gland_right"] == pytest.approx(2 * 48 / (64 + 48))
    assert score.sides == {"parotid_gland_right": (128, 16)}
    assert summary([score, score])["confused"] == {"parotid_gland_right": .125}


def test_an_organ_nobody_drew_is_left_out_or_absent():
    case, organs = a_case(right=1), ("parotid_gland_right", "parotid_gland_left")
    assert list(score_case(case, case.channels, organs, [], True).dice) == ["parotid_gland_right"]
    assert score_case(case, case.channels, organs, [], False).dice["parotid_gland_left"] == 1
    wrong = np.where(case.channels == 0, LEFT, case.channels).astype(np.uint8)
    assert score_case(case, wrong, organs, [], False).dice["parotid_gland_left"] == 0


def test_a_random_encoder_is_the_same_every_time_and_not_linear():
    encoder = random_encoder((8, 16))
    assert torch.equal(encoder.stem.weight, random_encoder((8, 16)).stem.weight)
    image = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    fine, double, nothing = (encoder.features(image * k)[0] for k in (1, 2, 0))
    assert not torch.allclose(double - nothing, 2 * (fine - nothing), atol=1e-2)
