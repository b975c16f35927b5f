"""A volume in, labels on its own grid out."""
from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from .errors import BadInput
from .geometry import Box, Geometry
from .laterality import IN_THE_MIRROR, has_sides, side_doubts
from .model import Model
from .organ_volumes import organ_volumes
from .pieces import without_specks
from .preprocess import body_box, native_labels, to_model_grid
from .progress import Progress, part, silent
from .refiner_card import CARD as REFINER, RefinerCard
from .refining import refine_volume, refiner_of
from .regions import doubtful
from .suitability import concerns, doubtful_sizes
from .volume import LabelMap, Volume
from .volume_ranges import VolumeRanges
from .windows import by_planes, in_pairs, plan_windows, stitch

log = logging.getLogger(__name__)
Orientation = Callable[[Tensor, Geometry, Progress], "tuple[str, ...]"]  # an image (1, K, J, I) on its model grid -> sentences about how the patient lies
SURE = 10.0  # logit of background outside the searched box, minus that of every organ


@dataclass(frozen=True, eq=False)
class Prediction:
    """labels: organ-table ids on the volume's own grid; logits (1 + organs, k, j, i) float32 on `geometry`, the model grid.

    ranges: how far to trust the volumes that the chances span; None where the model does not know.
    """

    labels: LabelMap
    logits: Tensor
    geometry: Geometry
    warnings: tuple[str, ...]
    seconds: float
    ranges: VolumeRanges | None = None


class Segmenter:
    """A model on a device ("auto": CUDA, then Apple's MPS, then the CPU), ready for any number of volumes."""

    def __init__(self, model: Model, device: str | torch.device = "auto", *, overlap: float = 0.5, refine: bool = True,
                 orientation: Orientation = lambda image, grid, progress: ()) -> None:
        """refine: let the refiner that the model may carry better the head's answer, if its card says that it does. orientation: who is
        asked whether the patient lies as the header says."""
        if not 0 <= overlap < 1:
            raise BadInput(f"The overlap of windows is a fraction from 0 to below 1, not {overlap}.")
        if not model.organs:
            raise BadInput(f"The model {model.card.get('name', '')!r} names no organs, it cannot segment; `diffseg models` lists the ones that do.")
        self.model, self.overlap, self.orientation = model, overlap, orientation
        self.device = usable_device(device)
        layout = torch.contiguous_format if self.device.type == "mps" else torch.channels_last_3d
        layout = torch.channels_last if model.flat and layout == torch.channels_last_3d else layout
        self._network = by_planes(model.network.to(self.device, memory_format=layout).eval(), model.window)
        self.refines = refine and getattr(model.network, "refiner", None) is not None and RefinerCard.of(model.card).helps
        self._ranges = VolumeRanges.of(model.card[REFINER] if self.refines else model.card)

    @torch.no_grad()
    def segment(self, volume: Volume, *, box: Box | None = None, progress: Progress = silent) -> Prediction:
        """Labels of every organ of the model; `box`, in voxels of the volume, says where to look (outside is background).

        Raises BadInput for an image of several channels or an empty box, and whatever `progress` raises. Warnings
        are sentences about the volume or about how it had to be computed.
        """
        began = time.monotonic()
        check_input(volume, self.model.channels, box)
        image, grid = to_model_grid(volume, self.model.preprocessing, part(progress, 0, 0.1))
        body = Box.whole(grid.shape) if self.model.flat else body_box(image, self.model.preprocessing.body_threshold)
        warnings = concerns(volume, image, body, self.model.preprocessing, self.model.card)
        warnings += () if body.is_empty else self.orientation(image, grid, part(progress, 0.1, 0.15))
        search = Box.whole(grid.shape) if body.is_empty else body
        if box is not None:
            search = on_grid(box, volume.geometry, grid)
        logits, shortage = self._logits(image, search, part(progress, 0.15, 0.4 if self.refines else 0.85))
        if self.refines:
            self._refine(image, logits, search, part(progress, 0.4, 0.85))
        logits = without_specks(logits, self.model.card.get("smallest_piece", 0))
        channels = native_labels(logits, grid, volume.geometry, part(progress, 0.85, 1))
        labels = self._named(channels, volume.geometry)
        doubts = doubtful_sizes({each.name: each.ml for each in organ_volumes(labels)}, self.model.card)
        doubts += side_doubts(labels) or (self._mirror_doubts(image, body, grid) if doubts and box is None else ())
        progress(1.0, "Done")
        return Prediction(labels, logits, grid, warnings + shortage + doubts, time.monotonic() - began, self._ranges)

    def _mirror_doubts(self, image: Tensor, body: Box, grid: Geometry) -> tuple[str, ...]:
        """A network that learnt where organs lie looks for the liver on the right, whatever lies there. So where sizes are odd, and some organ
        belongs to one side, the mirror image is looked at, too: a sentence if sizes are as usual there.
        """
        if body.is_empty or not has_sides(self.model.organs) or self.model.card.get("prepares_itself"):
            return ()
        (*others, i), (*ends, after) = body.start, body.stop
        width = image.shape[-1]
        turned = Box((*others, width - after), (*ends, width - i))
        found = self._logits(image.flip(-1), turned, silent)[0].argmax(0)
        voxel_ml = float(np.prod(grid.spacing)) / 1000
        ml = {organ: int((found == channel).sum()) * voxel_ml for channel, organ in enumerate(self.model.organs, 1)}
        return () if doubtful_sizes(ml, self.model.card) else (IN_THE_MIRROR,)

    def _logits(self, image: Tensor, search: Box, progress: Progress) -> tuple[Tensor, tuple[str, ...]]:
        """Logits on the whole grid, and a warning where a GPU had to make do with smaller windows."""
        try:
            return self._stitched(image, search, self.model.window, progress), ()
        except torch.cuda.OutOfMemoryError:
            log.warning("out of GPU memory with windows of %s; trying half of each side", self.model.window)
        torch.cuda.empty_cache()
        smaller = tuple(max(16, side // 2 // 16 * 16) for side in self.model.window)
        logits = self._stitched(image, search, smaller, progress)
        return logits, (f"The GPU's memory was too small for windows of {self.model.window} voxels, so {smaller} were used: "
                        "less is seen around each voxel, and organs may be less exact.",)

    def _refine(self, image: Tensor, logits: Tensor, search: Box, progress: Progress) -> None:
        """The refiner's answer, in place, where the head is in doubt inside the searched box."""
        card, classes = RefinerCard.of(self.model.card), refiner_of(self.model).classes
        prior = logits.float().softmax(0)[-classes:]
        within = torch.zeros(image.shape[1:], dtype=torch.bool)
        within[search.slices] = True
        region = doubtful(prior, self.model.preprocessing.spacing_mm) & within
        found = refine_volume(self.model, image, prior, steps=card.steps, samples=card.samples, region=region, device=self.device, progress=progress)
        logits[:, region] = found.logits[:, region]

    def _stitched(self, image: Tensor, search: Box, window: tuple[int, int, int], progress: Progress) -> Tensor:
        logits = torch.full((*image.shape[1:], len(self.model.organs) + 1), -SURE).movedim(-1, 0)  # laid out as the network's
        logits[0] = SURE
        windows = plan_windows(search, window, image.shape[1:], self.overlap)
        air = self.model.preprocessing.intensity_knots[0][1]
        network, batch = (in_pairs(self._network), 2) if self.device.type == "cpu" else (self._network, 1)
        for box, planes in stitch(network, image, windows, outside=air, batch=batch, device=self.device, progress=progress):
            wanted = box.intersect(search)
            logits[(slice(None), *wanted.slices)] = planes[(slice(None), *wanted.shift([-a for a in box.start]).slices)].cpu()
        return logits

    def _named(self, channels: np.ndarray, geometry: Geometry) -> LabelMap:
        ids = np.array([0, *self.model.ids])
        table = ids.astype(np.uint8 if ids.max() < 256 else np.uint16)
        return LabelMap(table[channels], geometry, dict(zip(self.model.ids, self.model.organs)))


def check_input(volume: Volume, channels: int, box: Box | None) -> None:
    """BadInput for an image of another number of channels, or a box outside it."""
    given = len(volume.array) if volume.array.ndim == 4 else 1
    if given != channels:
        raise BadInput(f"The image has {given} channels, the model reads {channels}: choose " + ("one of them." if channels == 1 else "another image."))
    if box is not None and box.clip(volume.geometry.shape).is_empty:
        raise BadInput(f"The box {box.start} to {box.stop} (K, J, I) is outside the volume of {volume.geometry.shape} voxels.")


def usable_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is the fastest there is. BadInput where the machine has none of the kind."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if str(device) == "auto":
        return torch.device(next(kind for kind, available in there.items() if available))
    if not there.get(str(device).split(":")[0], False):
        raise BadInput(f'This machine has no device "{device}" that PyTorch can use; choose "auto" or "cpu".')
    return torch.device(device)


def on_grid(box: Box, native: Geometry, grid: Geometry) -> Box:
    """The voxels of the model grid whose centres the native box may reach."""
    low, high = np.array(box.clip(native.shape).start) - 0.5, np.array(box.clip(native.shape).stop) - 0.5
    corners = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), -1).reshape(-1, 3)
    at = grid.to_index(native.to_ras(corners))
    start, stop = np.ceil(at.min(axis=0) - 1e-6), np.floor(at.max(axis=0) + 1e-6) + 1
    return Box(tuple(start.astype(int)), tuple(np.maximum(stop, start + 1).astype(int))).clip(grid.shape)
