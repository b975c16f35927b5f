"""Features at a noise level: overlapping windows see one image, whatever the order, and a level changes only the level."""
from __future__ import annotations

import pytest
import torch

from DiffSegCore.errors import BadInput
from DiffSegCore.features import Features, noised
from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing

CT = Preprocessing((4., 4., 4.), ((-1000., -1.), (1000., 1.)))
STARTS = [(0, 0, 0), (4, 8, 4), (-4, 0, 8)]


def a_model(**described) -> Model:
    torch.manual_seed(0)
    described = {"kind": "denoiser", "guidance": "input", "encoder": {"widths": [8, 16, 24]}, **described}
    network = build(described).eval()
    for name, parameter in network.named_parameters():
        if "guide" in name or "second" in name:
            torch.nn.init.normal_(parameter, std=.1)
    return Model(network, described, CT, (), (8, 8, 8), {"name": "toy"})


def image(shape: tuple[int, int, int] = (16, 16, 16)) -> torch.Tensor:
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(3)) - .5


def windows(starts) -> torch.Tensor:
    whole = torch.nn.functional.pad(image(), [8] * 6)
    return torch.stack([whole[:, a + 8:a + 16, b + 8:b + 16, c + 8:c + 16] for a, b, c in starts])


def test_windows_that_overlap_see_identical_voxels():
    one, other = noised(windows([(0, 0, 0), (4, 2, 0)]), [(0, 0, 0), (4, 2, 0)], 3.5)
    assert torch.equal(one[:, 4:, 2:], other[:, :4, :6])


def test_windows_are_pieces_of_the_whole_volume():
    whole = noised(image()[None], [(0, 0, 0)], 2.1)[0]
    assert torch.equal(noised(windows([(4, 8, 4)]), [(4, 8, 4)], 2.1)[0], whole[:, 4:12, 8:16, 4:12])


def test_the_noise_has_the_strength_of_its_level_and_is_the_same_at_all_levels():
    still = torch.zeros(1, 1, 32, 32, 32)
    faint, strong = (noised(still, [(0, 0, 0)], log_snr) for log_snr in (9., 2.1))
    keep = torch.tensor(9.).sigmoid()
    assert faint.std() == pytest.approx((1 - keep).sqrt().item(), rel=.02)
    torch.testing.assert_close(faint / faint.std(), strong / strong.std(), rtol=1e-4, atol=1e-4)
    assert not torch.equal(noised(still, [(0, 0, 0)], 9., seed=1), faint)


def test_without_noise_the_image_is_only_scaled_and_without_a_level_untouched():
    keep = torch.tensor(4.7, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(noised(windows(STARTS), STARTS, 4.7, noise="zero"), windows(STARTS) * float(keep.sqrt()))
    assert torch.equal(noised(windows(STARTS), STARTS, None), windows(STARTS))
    with pytest.raises(BadInput, match="'fresh'"):
        noised(windows(STARTS), STARTS, 4.7, noise="fresh")


def test_a_window_reads_the_same_alone_in_a_batch_and_in_any_order():
    features = Features(a_model(), "cpu")
    together = features.read(image(), STARTS, 6.)
    assert [level.shape for level in together] == [(3, 8, 8, 8, 8), (3, 16, 4, 4, 4), (3, 24, 2, 2, 2)]
    for number in (2, 0, 1):
        for all_of_them, alone in zip(together, features.read(image(), STARTS[number:number + 1], 6.)):
            torch.testing.assert_close(all_of_them[number:number + 1], alone, rtol=1e-4, atol=1e-5)


def test_reading_depends_on_level_and_on_the_bodys_coordinates_where_they_are_known():
    features, body = Features(a_model(), "cpu"), torch.rand(3, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    read = lambda **options: features.read(image(), [(4, 4, 4)], **{"log_snr": 6., "noise": "zero", **options})[0]  # noqa: E731
    assert not torch.equal(read(), read(log_snr=3.5)) and not torch.equal(read(), read(body=body))
    assert torch.equal(read(), read(body=torch.full_like(body, float("nan"))))
    changed = body.clone()
    changed[:, 3] = 9.  # the window holds cells 1 and 2
    assert torch.equal(read(body=body), read(body=changed))
    with pytest.raises(ValueError, match="multiples of 4"):
        features.read(image(), [(2, 4, 4)], 6., body=body)


def test_an_organ_networks_encoder_can_be_read_too_and_a_network_without_one_is_refused():
    described = {"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16]}}
    assert Features(Model(build(described), described, CT, ("a", "b"), (8, 8, 8)), "cpu").widths == (8, 16)
    with pytest.raises(BadInput, match="no features"):
        Features(Model(torch.nn.Linear(1, 1), {}, CT, (), (8, 8, 8)), "cpu")
