"""What travels through DiffSeg: an image, and the labels on its grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Mapping

import numpy as np

from .errors import BadInput
from .geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: `array` is (K, J, I), or (C, K, J, I) with several channels; CT in HU.

    `modality` is DICOM's word ("CT", "MR"), or "" where the file does not say.
    """

    array: np.ndarray
    geometry: Geometry
    modality: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4):
            raise BadInput(f"A volume is (K, J, I) or (C, K, J, I), not {self.array.ndim}-dimensional.")
        if self.array.dtype.kind not in "iuf":
            raise BadInput(f"A volume holds integers or floats, not {self.array.dtype}; convert it first.")
        _check_grid(self.array.shape[-3:], self.geometry)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels: `ids` (K, J, I) uint8 or uint16, 0 is background; `names` says which organ an id is."""

    ids: np.ndarray
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ids.dtype not in (np.uint8, np.uint16):
            raise BadInput(f"Label ids are uint8 or uint16, not {self.ids.dtype}; convert them first.")
        _check_grid(self.ids.shape, self.geometry)
        object.__setattr__(self, "names", MappingProxyType({int(i): str(n) for i, n in self.names.items()}))


def _check_grid(shape: tuple[int, ...], geometry: Geometry) -> None:
    if tuple(shape) != geometry.shape:
        raise BadInput(f"An array of {tuple(shape)} voxels (K, J, I) is not on a grid of {geometry.shape}.")
