"""Files to volumes and label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import BadInput
from .geometry import Geometry
from .volume import LabelMap, Volume


def read_volume(path: str | Path, *, series: str | None = None) -> Volume:
    image = _image(Path(path))
    return Volume(sitk.GetArrayFromImage(image), Geometry.from_itk(image))


def read_labels(path: str | Path) -> LabelMap:
    image = _image(Path(path))
    return LabelMap(sitk.GetArrayFromImage(image).astype(np.uint8), Geometry.from_itk(image))


def _image(path: Path) -> sitk.Image:
    if not path.exists():
        raise BadInput(f"There is no file {path}; check the path.")
    return sitk.ReadImage(str(path))
