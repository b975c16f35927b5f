"""The image and the labels of a case, whatever files they are: volumes, pictures, one channel or several."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np

from ..errors import BadInput
from ..reading import read_labels, read_volume
from ..volume import LabelMap, Volume
from ..writing import check_labels_place, write_labels
from .images2d import check_mask_place, is_picture, read_mask, read_picture, write_mask


def read_image(image: str | Path | Sequence[str | Path], *, series: str | None = None, channels: int | None = None,
               flat: bool | None = None) -> Volume:
    """One file or folder, or a file for each channel: (K, J, I) or (C, K, J, I). BadInput where channels lie on different grids.

    channels, flat: what the model reads that the image is for, where there is one; BadInput names the file that does not suit it.
    """
    paths = [image] if isinstance(image, (str, Path)) else list(image)
    if flat is False:
        _refuse_pictures(paths)
    found = _stacked(paths, [read_picture(path) if is_picture(path) else read_volume(path, series=series, channels=channels != 1) for path in paths])
    given = len(found.array) if found.array.ndim == 4 else 1
    if channels not in (None, given):
        raise BadInput(f"{', '.join(map(str, paths))}: the image has {given} channels, the model reads {channels}; give it an image of {channels}.")
    return found


def _refuse_pictures(paths: Sequence[str | Path]) -> None:
    for path in filter(is_picture, paths):
        raise BadInput(f"{path} is a picture and the model reads volumes; give it a volume with three dimensions (NIfTI, NRRD, MHA, DICOM).")


def _stacked(paths: Sequence[str | Path], volumes: Sequence[Volume]) -> Volume:
    """One image of all channels."""
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for path, volume in zip(paths, volumes):
        if not volume.geometry.same_grid(first.geometry):
            raise BadInput(f"{path} lies on another grid ({volume.geometry.shape} voxels) than {paths[0]} ({first.geometry.shape}); "
                           "channels of one image share their grid, so resample one of them.")
        if volume.array.ndim == 4:
            raise BadInput(f"{path} has {len(volume.array)} channels itself; give one file a channel, or one file alone.")
    return Volume(np.stack([volume.array for volume in volumes]), first.geometry, first.modality)


def read_truth(path: str | Path) -> LabelMap:
    """Labels from a label file or a picture."""
    return read_mask(path) if is_picture(path) else read_labels(path)


def write_found(labels: LabelMap, path: str | Path) -> None:
    """Labels to a label file, or to a picture if its name says so."""
    (write_mask if is_picture(path) else write_labels)(labels, path)


def check_found_place(path: Path) -> None:
    """Refuse what `write_found` would refuse, before the slow work."""
    (check_mask_place if is_picture(path) else check_labels_place)(path)
