"""The volume that ships with DiffSeg: the average person of the phantoms, the labels and their names.

Make it again with `python -m DiffSegCore.data.sample Resources/Sample`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..geometry import Geometry
from ..volume import LabelMap, Volume
from ..writing import write_labels, write_volume
from .phantom import phantom

SEED = 100  # of the scan's noise; phantoms that models learn from have smaller numbers
SHAPE, SPACING_MM = (106, 128, 156), (2.5, 2.0, 2.0)
ORIGIN_RAS_MM = (155.0, 67.0, -154.0)


def sample() -> tuple[Volume, LabelMap]:
    k, j, i = SPACING_MM
    ijk_to_ras = np.diag([-i, -j, k, 1.0])
    ijk_to_ras[:3, 3] = ORIGIN_RAS_MM
    return phantom(SEED, geometry=Geometry(SHAPE, ijk_to_ras), noise_hu=12.0, average=True)


def write_sample(folder: str | Path) -> tuple[Path, Path]:
    """Write sample_ct.nii.gz and sample_labels.nii.gz (names in the JSON beside); returns their paths."""
    folder = Path(folder)
    volume, labels = sample()
    image_path, labels_path = folder / "sample_ct.nii.gz", folder / "sample_labels.nii.gz"
    write_volume(volume, image_path)
    write_labels(labels, labels_path)
    return image_path, labels_path


if __name__ == "__main__":
    for path in write_sample(sys.argv[1]):
        print(path)
