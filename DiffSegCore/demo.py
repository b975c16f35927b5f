"""The shipped sample from CT to named organs: what `diffseg demo` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput
from .metrics import OrganScore, compare
from .organ_volumes import OrganVolume, organ_volumes, write_csv
from .pictures import check_picture, save_picture
from .progress import Progress, part, silent
from .reading import read_labels, read_volume
from .registry import DEFAULT, load_model
from .resources import resource
from .segmenter import Segmenter
from .writing import write_labels


@dataclass(frozen=True)
class Demo:
    """What came out: files by what they are, organ volumes in ml, scores against the sample's truth."""

    files: dict[str, Path]
    volumes: tuple[OrganVolume, ...]
    scores: tuple[OrganScore, ...]
    warnings: tuple[str, ...]

    @property
    def mean_dice(self) -> float:
        return sum(score.dice for score in self.scores) / len(self.scores)


def run_demo(out: str | Path, *, model: str | Path = DEFAULT, progress: Progress = silent) -> Demo:
    """Segment the sample into the folder `out`, which is made if need be. Raises BadInput where it cannot be written."""
    out = Path(out)
    files = {"labels for 3D Slicer": out / "organs.seg.nrrd", "labels": out / "organs.nii.gz", "volumes": out / "volumes.csv", "picture": out / "picture.png"}
    check_picture(files["picture"])
    _make(out)
    progress(0.0, "Reading the sample")
    volume, truth = read_volume(resource("Sample", "sample_ct.nii.gz")), read_labels(resource("Sample", "sample_labels.nii.gz"))
    prediction = Segmenter(load_model(model)).segment(volume, progress=part(progress, 0.1, 0.6))
    labels = prediction.labels
    progress(0.6, "Comparing with the truth")
    scores = tuple(compare(labels, truth, organs=set(labels.names.values())))
    volumes = organ_volumes(labels)
    progress(0.7, "Writing labels and picture")
    write_labels(labels, files["labels for 3D Slicer"])
    write_labels(labels, files["labels"])
    write_csv(volumes, files["volumes"])
    save_picture(files["picture"], volume, labels, title="The sample that ships with DiffSeg", note="A synthetic phantom, segmented by the bundled model.")
    return Demo(files, volumes, scores, prediction.warnings)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"Cannot make the folder {folder}: {error.strerror}; choose another with --out.") from error
