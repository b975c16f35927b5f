"""Windows cover what they should, weigh one in sum, and give what MONAI gives."""
from __future__ import annotations

import pytest
import torch
from monai.inferers import sliding_window_inference

from DiffSegCore.errors import Cancelled
from DiffSegCore.geometry import Box
from DiffSegCore.windows import importance, plan_windows, stitch


def stitched(network, image, windows, **options) -> torch.Tensor:
    """All the planes in one tensor (C, K, J, I); NaN where none came."""
    whole = None
    for box, planes in stitch(network, image, windows, outside=-1.0, **options):
        if whole is None:
            whole = torch.full((len(planes), *image.shape[1:]), float("nan"))
        whole[(slice(None), *box.slices)] = planes
    return whole


def pointwise(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x * x, 1 - x], dim=1)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return pointwise(x).contiguous(memory_format=torch.channels_last_3d)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(1, 21, 18, 25, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", [pointwise, channels_last])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.8])
def test_tiled_is_whole_for_a_network_without_context(image, network, overlap):
    windows = plan_windows(Box.whole(image.shape[1:]), (8, 6, 10), image.shape[1:], overlap)
    torch.testing.assert_close(stitched(network, image, windows), pointwise(image[None])[0], rtol=3e-5, atol=1e-5)


def test_tile_weights_sum_to_one(image):
    windows = plan_windows(Box.whole(image.shape[1:]), (8, 8, 8), image.shape[1:])
    torch.testing.assert_close(stitched(torch.ones_like, image, windows), torch.ones_like(image))


@pytest.mark.parametrize("shape, window", [((20, 18, 25), (8, 6, 10)), ((5, 18, 9), (8, 6, 10)), ((4, 4, 4), (8, 8, 8))])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_logits_equal_monais(shape, window, overlap):
    torch.manual_seed(0)
    image, network = torch.randn(1, *shape), torch.nn.Conv3d(1, 4, 3, padding=1).requires_grad_(False)
    windows = plan_windows(Box.whole(shape), window, shape, overlap)
    monai = sliding_window_inference(image[None], window, 1, network, overlap, "gaussian", 0.125, "constant", -1.0)[0]
    ours = stitched(network, image, windows)
    torch.testing.assert_close(ours, monai)
    assert torch.equal(ours.argmax(0), monai.argmax(0))


def test_windows_stay_in_the_box_and_cover_it():
    box, shape = Box((3, 5, 0), (19, 17, 30)), (40, 40, 40)
    windows = plan_windows(box, (8, 8, 8), shape)
    seen = torch.zeros(shape)
    for window in windows:
        assert window.intersect(box) == window and window.shape == (8, 8, 8)
        seen[window.slices] += 1
    assert (seen[box.slices] > 0).all()


def test_a_small_box_takes_context_from_the_image_before_anything_is_padded():
    assert plan_windows(Box((2, 2, 2), (6, 6, 6)), (8, 8, 8), (40, 40, 6)) == [Box((0, 0, -1), (8, 8, 7))]


def test_planes_come_finished_and_in_order(image):
    windows = plan_windows(Box((2, 0, 0), (20, 18, 25)), (8, 8, 8), image.shape[1:])
    boxes = [box for box, _ in stitch(pointwise, image, windows, outside=-1.0)]
    assert boxes[0].start[0] == 2 and boxes[-1].stop[0] == 20
    assert all(below.stop[0] == above.start[0] for below, above in zip(boxes, boxes[1:]))


def test_only_a_slab_of_sums_exists():
    image = torch.zeros(1, 64, 8, 8)
    windows = plan_windows(Box.whole((64, 8, 8)), (8, 8, 8), (64, 8, 8))
    assert {planes.untyped_storage().nbytes() for _, planes in stitch(torch.ones_like, image, windows, outside=0.0)} == {8 * 8 * 8 * 4}


def test_a_batch_of_windows_gives_what_single_ones_give(image):
    windows = plan_windows(Box.whole(image.shape[1:]), (8, 8, 8), image.shape[1:])
    torch.testing.assert_close(stitched(pointwise, image, windows, batch=3), stitched(pointwise, image, windows))


def test_weights_fall_from_the_middle_and_never_to_zero():
    weight = importance((5, 7, 9))
    assert weight.argmax() == weight.numel() // 2 and weight.max() == 1 and weight.min() == pytest.approx(1e-3)


def test_stop_is_heard_before_each_window(image):
    said, looked = [], []
    def progress(fraction, stage):
        said.append(stage)
        if len(said) == 3:
            raise Cancelled
    def network(x):
        looked.append(x)
        return x
    windows = plan_windows(Box.whole(image.shape[1:]), (8, 8, 8), image.shape[1:])
    with pytest.raises(Cancelled):
        list(stitch(network, image, windows, outside=0.0, progress=progress))
    assert len(looked) == 2 and said[0] == f"Looking at window 1 of {len(windows)}"
