"""A list of training cases with the names of their labels, for data that lies there without: `make train-abdomen-ct` begins with it.

    python -m Testing.benchmarks.training_lists abdomen-ct --data ../shared/data -o runs/abdomen-ct/data [--teacher MODEL]

--teacher: unlabelled scans are learnt from, too, with labels that this model gives them (self-training). They are 8-bit images of a window, which are made HU again.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DiffSegCore.data.label_names import read_label_names
from DiffSegCore.model import load_model_file
from DiffSegCore.reading import read_volume
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

from .bundled import ending
from .held_out import DATA, Case, Source, cases_of, write_datalist

LEARNT_FROM = {"abdomen-ct": (Source("ct_abdomen/ts_dicom_slab", "ct.nii.gz", "label_ts117.nii.gz", "label_maps/ts_class_map.json", "total"),)}
AIR = -1000


@dataclass(frozen=True)
class Window:
    """An 8-bit scan without labels: HU from `low` to `high` are 0 to 255, and what was darker than `low` is air, as fat is not."""

    file: str
    low: float
    high: float


UNLABELLED = {"abdomen-ct": (Window("ct_abdomen/amos_0018_unlabelled_uint8.nii.gz", -160., 240.),)}


def in_hu(volume: Volume, window: Window) -> Volume:
    values = volume.array.astype(np.float32)
    hu = np.where(values == 0, AIR, np.rint(window.low + values * (window.high - window.low) / 255))
    return Volume(hu.astype(np.int16), volume.geometry, "CT")


def taught(window: Window, data: Path, out: Path, segmenter: Segmenter, names: dict[int, str]) -> Case:
    """The scan in HU with the labels that the model finds, under the ids of `names`, as files."""
    volume = in_hu(read_volume(data / window.file), window)
    found = segmenter.segment(volume).labels
    ids = {name: id for id, name in names.items()}
    table = np.zeros(int(found.ids.max()) + 1, np.uint8)
    for id, name in found.names.items():
        if id < len(table):
            table[id] = ids[name]
    stem = Path(window.file).name.removesuffix(".nii.gz")
    out.mkdir(parents=True, exist_ok=True)
    image, label = out / f"{stem}.nii.gz", out / f"{stem}-labels.nii.gz"
    write_volume(volume, image)
    write_labels(LabelMap(table[found.ids], found.geometry, names), label)
    return Case(stem, image, label, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=LEARNT_FROM)
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--teacher", type=Path, metavar="MODEL", help="label unlabelled scans with this model, and list them, too")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    cases = cases_of(LEARNT_FROM[args.model], args.data)
    if args.teacher:
        segmenter, (source, *_) = Segmenter(load_model_file(args.teacher), "cpu"), LEARNT_FROM[args.model]
        names = read_label_names(args.data / source.names, kind=source.kind)
        cases += tuple(taught(each, args.data, args.out / "taught", segmenter, names) for each in UNLABELLED[args.model])
    print(write_datalist(cases, args.out, "training"))


if __name__ == "__main__":
    sys.exit(ending(main))
