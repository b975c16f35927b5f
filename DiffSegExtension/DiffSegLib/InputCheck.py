"""Whether a volume is something to segment, said at once from what the scene knows; the worker's own check knows the model."""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry

from . import SceneBridge
from .VolumeFrame import VolumeFrame

COARSE_MM = 5.0
FEW = 8  # voxels along an axis
_AIR = -400  # HU: a CT has something below this
_SAMPLE = 16  # voxels looked at along each axis


def check(volumeNode: Any, learntFrom: str = "") -> tuple[str, str]:
    """("green", "amber" or "red", a sentence): red where nothing can be done with it.

    learntFrom: the modality that the model was trained on, "" where that is not known.
    """
    try:
        array, modality = SceneBridge.imageOf(volumeNode)
        geometry = VolumeFrame.of(volumeNode).geometry
    except BadInput as error:
        return "red", str(error)
    concerns = list(_concerns(array, modality, geometry, learntFrom))
    return ("amber" if concerns else "green"), " ".join([_described(modality, geometry), *concerns])


def _described(modality: str, geometry: Geometry) -> str:
    k, j, i = geometry.spacing
    size = " x ".join(str(n) for n in reversed(geometry.shape))
    return f"{modality or 'Image'}, {i:.2g} x {j:.2g} x {k:.2g} mm, {size} voxels."


def _concerns(array: np.ndarray, modality: str, geometry: Geometry, learntFrom: str) -> Iterator[str]:
    if modality and learntFrom and modality != learntFrom:
        yield f"The model learnt from {learntFrom}, so its result will be wrong here; correcting by clicks may still work."
    if min(geometry.shape) < FEW:
        yield f"It has only {min(geometry.shape)} voxels along one axis; a volume is expected."
    if max(geometry.spacing) > COARSE_MM:
        yield f"Its slices are {max(geometry.spacing):.1f} mm apart: thin organs may be missed."
    sample = array[tuple(slice(None, None, max(1, n // _SAMPLE)) for n in array.shape)]
    if not np.isfinite(sample).all():
        yield "It holds values that are no numbers; check how it was made."
    elif sample.min() == sample.max():
        yield "It looks empty: all values looked at are the same."
    elif modality == "CT" and sample.min() > _AIR:
        yield "It shows no air, so the values may not be Hounsfield units."
    if not modality and (learntFrom != "CT" or sample.min() > _AIR):  # air as dark as in a CT speaks for itself
        yield "The file does not say whether it is CT or MR."
