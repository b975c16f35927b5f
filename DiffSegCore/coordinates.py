"""Body coordinates of a volume: the same place has the same coordinate in everybody; and what they say of its orientation."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import BadInput
from .geometry import Box, Geometry
from .laterality import UNLESS
from .linear import taps
from .model import Model
from .networks.coordinates import MIDDLE, STRIDE, BodyCoordinates
from .preprocess import Preprocessing, body_box
from .progress import Progress, silent
from .segmenter import usable_device
from .windows import importance, plan_windows

SURELY = .85, .6, .6  # probabilities from which on a turned axis R, A, S is worth a word; Testing/benchmarks/coordinates.py counts what they notice and what they cost
SHORT = 170.          # mm of body along S below which a head, seen alone, says little about up and down:
SURER = .85, .6, .9   # ... there it takes more
STRAIGHT = .5         # share of u's variance along an axis that a straight line has to explain
RIGID = .5            # weight of a rigid body's coordinates against those that were read
ENOUGH = 32           # coarse voxels of body that a line can be laid through


@dataclass(frozen=True, eq=False)
class CoordinateMap:
    """u float32 (3, k, j, i), order R, A, S, on the coarse `grid`; `body` bool (k, j, i): the voxels with a patient in them.

    scale: the patient's g, above 1 for small people; turned: probabilities that right and left, front and back, head and
    feet are exchanged.
    """

    u: Tensor
    grid: Geometry
    body: Tensor
    scale: float
    turned: tuple[float, float, float]

    def at(self, ras: Any) -> np.ndarray:
        """u of points in RAS mm, (..., 3) to (..., 3) float32; beyond the patient the nearest border's."""
        kji = torch.from_numpy(self.grid.to_index(ras)).float()
        unit = (2 * kji.reshape(1, -1, 1, 1, 3) + 1) / torch.tensor(self.u.shape[1:]) - 1
        found = F.grid_sample(self.u[None], unit.flip(-1), padding_mode="border", align_corners=False)
        return found.reshape(3, -1).T.reshape(kji.shape).numpy()

    def on(self, geometry: Geometry) -> Tensor:
        """u (3, K, J, I) on a model grid, trilinear; beyond the patient the nearest border's."""
        to_coarse, u = geometry.index_map(self.grid), self.u
        for axis, size in enumerate(geometry.shape):
            low, high, weight = taps(to_coarse[axis, axis] * np.arange(size) + to_coarse[axis, 3], self.grid.shape[axis])
            weight = weight.view([-1 if axis == dim else 1 for dim in range(3)])
            u = torch.lerp(u.index_select(axis + 1, low), u.index_select(axis + 1, high), weight)
        return u

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """RAS mm (n, 3) and u (n, 3) of the voxels with a patient in them."""
        return self.grid.to_ras(np.argwhere(self.body.numpy())), self.u[:, self.body].T.numpy()


class CoordinateModel:
    """A model of `diffseg train body` on a device ("auto": CUDA, then Apple's MPS, then the CPU)."""

    def __init__(self, model: Model, device: str | torch.device = "auto") -> None:
        if not isinstance(model.network, BodyCoordinates):
            name = model.card.get("name", "this model")
            raise BadInput(f"{name} gives no body coordinates; choose a model made by `diffseg train body`")
        self.model, self.device = model, usable_device(device)
        self._network = model.network.to(self.device).eval()

    def map(self, image: Tensor, geometry: Geometry, progress: Progress = silent) -> CoordinateMap:
        """Coordinates of a whole volume in model values (1, K, J, I) on its model grid."""
        return coordinate_map(self._network, image, geometry, self.model.preprocessing, self.model.window, progress)

    def coarse(self, image: Tensor) -> Tensor:
        """u (3, ceil(K/4), ceil(J/4), ceil(I/4)) float32 of a whole volume in model values (1, K, J, I)."""
        return _read(self._network, image.float(), self.model.preprocessing, self.model.window).u

    def coordinates(self, image: Tensor) -> Tensor:
        """u (3, K, J, I) float32 of every voxel of a whole volume in model values (1, K, J, I)."""
        grid = _index_grid(image.shape[1:])
        return self.map(image, grid).on(grid)


def coordinate_map(network: BodyCoordinates, image: Tensor, geometry: Geometry, preprocessing: Preprocessing,
                   window: Sequence[int], progress: Progress = silent) -> CoordinateMap:
    """Read inside the body box, so that the air round a patient changes nothing; image (1, K, J, I) on `geometry`; window (k, j, i): as trained."""
    box = body_box(image, preprocessing.body_threshold)
    box = Box.whole(geometry.shape) if box.is_empty else box
    found = _read(network, image[(slice(None), *box.slices)].float(), preprocessing, window, progress)
    return CoordinateMap(found.u, coarse_grid(geometry.crop(box)), found.dense > .5, math.exp(found.log_scale), tuple(found.turned.sigmoid().tolist()))


class _Read(NamedTuple):
    """u (3, k, j, i) and the share of body (k, j, i) of coarse voxels; log_scale and logits turned (3,) of the whole."""

    u: Tensor
    dense: Tensor
    log_scale: float
    turned: Tensor


@torch.no_grad()
def _read(network: BodyCoordinates, image: Tensor, preprocessing: Preprocessing, window: Sequence[int], progress: Progress = silent) -> _Read:
    """Window by window, averaged where they overlap: in more than a training view shows at once, bodies come out too short.

    What each place looks like is one witness of where it lies, that millimetres are millimetres another: the mean of both.
    """
    shape = [-(-n // STRIDE) for n in image.shape[1:]]
    image = F.pad(image, [side for size in reversed(image.shape[1:]) for side in (0, -size % STRIDE)], value=preprocessing.intensity_knots[0][1])
    dense = F.avg_pool3d((image > preprocessing.body_threshold).float(), STRIDE)[0]
    sums, weights, judged = torch.zeros(3, *shape), torch.zeros(shape), []
    windows = plan_windows(Box.whole(shape), [min(n, side // STRIDE) for n, side in zip(shape, window)], shape)
    for number, box in enumerate(windows):
        progress(number / len(windows), "Looking how the patient lies")
        seen = tuple(slice(a * STRIDE, b * STRIDE) for a, b in zip(box.start, box.stop))
        part = image[(None, slice(None), *seen)].to(network.low.device)
        (u, log_scale), weight = network(part), importance(box.shape)
        sums[(slice(None), *box.slices)] += u[0].float().cpu() * weight
        weights[box.slices] += weight
        said = torch.cat([log_scale, network.turned(part)[0]]).float().cpu()
        judged.append(torch.cat([said, torch.ones(1)]) * dense[box.slices].sum())
    mean = torch.stack(judged).sum(0)[:-1] / torch.stack(judged)[:, -1].sum().clamp(min=1e-6)
    turned = torch.cat([network.mirrored(_righted(image, mean[1:])[None].to(network.low.device)).float().cpu(), mean[1:]])
    u, slope = sums / weights, network.slope.cpu() * mean[0].exp() / 1000
    return _Read(torch.lerp(u, _rigid(u, dense > .5, slope, preprocessing.spacing_mm), RIGID), dense, float(mean[0]), turned)


def _righted(image: Tensor, turned: Tensor) -> Tensor:
    """(1, K, J, I) with its front in front and its head up, by logits (2,) that they are not."""
    return image.flip([axis for axis, logit in zip((2, 1), turned.tolist()) if logit > 0])


def _rigid(u: Tensor, body: Tensor, slope: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """The u of one rigid body of that slope (3,), in units a mm, that lies where most of `u` (3, k, j, i) says."""
    axes = [torch.arange(n) * STRIDE * mm for n, mm in zip(u.shape[1:], spacing_mm)]
    straight = torch.stack(torch.meshgrid(*axes, indexing="ij")).flip(0) * slope[:, None, None, None]
    shift = (u - straight)[:, body].median(1).values if body.any() else (u - straight).flatten(1).median(1).values
    return straight + shift[:, None, None, None]


def coarse_grid(geometry: Geometry) -> Geometry:
    """The grid of the coordinates of an image on `geometry`: one voxel for 4 x 4 x 4."""
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= STRIDE
    matrix[:3, 3] = geometry.to_ras((MIDDLE,) * 3)
    return Geometry(tuple(-(-size // STRIDE) for size in geometry.shape), matrix)


def orientation_doubts(found: CoordinateMap) -> tuple[str, ...]:
    """Sentences about a volume whose anatomy runs against its header; none where all is well.

    The network says which axes look turned over. Besides, u has to rise along R, A and S over the patient's voxels, as a straight
    line would, which it does not where axes are exchanged. In a head alone right and left, up and down are told only where there is little doubt.
    """
    return tuple(_doubts(found))


def _doubts(found: CoordinateMap) -> Iterator[str]:
    ras, u = found.places()
    if len(ras) < ENOUGH:
        yield "Too little of a patient is in the image to tell its orientation."
        return
    linear, explained = straight_fit(ras, u)
    along = (explained >= STRAIGHT) & (np.abs(linear).argmax(axis=0) == range(3))  # u rises or falls along its own axis, more than along others
    for axis in np.flatnonzero(~along):
        yield (f"The anatomy does not follow the {'RAS'[axis]} axis of the header: axes may be exchanged, or the image shows a part of the "
               "body that the model does not know.")
    known = np.array([along.all(), True, True])  # sides are told of bodies that coordinates recognise, on all axes
    surely = np.array(SURER if np.ptp(ras[:, 2]) < SHORT else SURELY)
    falling = along & (np.diag(linear) < 0) | known & (np.array(found.turned) > surely)
    if falling[1]:
        yield "The patient looks turned over: the front lies where the header says back (P). Check the orientation."
    if falling[2]:
        yield "The patient looks upside down: the head lies where the header says feet (I). Check the orientation or the order of slices."
    if falling[0]:
        yield f"Right and left look exchanged: vessels, windpipe and gullet lie as in a mirror image. {UNLESS}"


def straight_fit(ras: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u (n, 3) as a linear function of RAS mm (n, 3): matrix (3, 3), from R, A, S (rows) to units a mm of each coordinate
    (columns), and the share of each coordinate's variance that it explains (3,)."""
    x, y = ras - ras.mean(axis=0), u - u.mean(axis=0)
    linear = np.linalg.lstsq(x, y, rcond=None)[0]
    left = ((y - x @ linear) ** 2).sum(axis=0)
    return linear, 1 - left / np.maximum((y ** 2).sum(axis=0), 1e-12)


def _index_grid(shape: tuple[int, ...]) -> Geometry:
    """A grid whose millimetres are voxels, for images of which nobody needs the place."""
    return Geometry(tuple(shape), np.eye(4))
