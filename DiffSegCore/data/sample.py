"""The volume that ships with DiffSeg: the average person of the phantoms, the labels and their names.

Make it again with `python -m DiffSegCore.data.sample Resources/Sample`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..volume import LabelMap, Volume
from ..writing import write_labels, write_volume
from .phantom import phantom

SEED, SPACING_MM, SHAPE = 37, (2.0, 2.0, 2.0), (132, 128, 156)


def sample() -> tuple[Volume, LabelMap]:
    return phantom(SEED, spacing_mm=SPACING_MM, shape=SHAPE, noise_hu=12.0, average=True)


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
