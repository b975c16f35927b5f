"""Abdominal CTs for the click model to learn from, as real ones with labels are rare: `make train-click` begins with it.

    python -m Testing.benchmarks.click_lists --data ../shared/data --teacher Resources/Models/abdomen-ct.safetensors -o runs/click/data

Three data sets in the folder: `made`, imagined from two label maps; `shown`, labelled MR (CHAOS, cases below 30) as if it were CT, in two guises each;
`taught`, a real scan (AMOS 0018) with the labels that the teacher gives it.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from DiffSegCore.data.abdomen import Body, abdomen, recoloured
from DiffSegCore.data.label_names import read_label_names
from DiffSegCore.data.sources import read_image, read_truth
from DiffSegCore.model import load_model_file
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

from .bundled import ending
from .held_out import DATA, Case, Source, cases_of, write_datalist
from .training_lists import UNLABELLED, taught

BODIES = "label_maps/s0327_ts117.nii.gz", "label_maps/s0328_ts117.nii.gz"
NAMES = "label_maps/ts_class_map.json", "total"
SHOWN = Source("mr_abdomen_chaos_t2/[012]?", "mr.nii.gz", "label.nii.gz", "mr_abdomen_chaos_t2/labels.txt")
OBJECTS = ("spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior_vena_cava",
           "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum", "urinary_bladder", "colon", "small_bowel")
COUNT, GUISES = 16, 2
FIRST_SEED = 5000  # abdomen-ct learns from lower ones


def imagined(data: Path, out: Path) -> tuple[Case, ...]:
    """COUNT patients who never were, of the two bodies in turn."""
    names = read_label_names(data / NAMES[0], kind=NAMES[1])
    bodies = [Body.of(read_truth(data / each), names) for each in BODIES]
    kept = {id: name for id, name in names.items() if name in OBJECTS}
    found = []
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + COUNT), "imagining"):
        volume, labels = abdomen(seed, bodies[seed % len(bodies)])
        ids = np.where(np.isin(labels.ids, list(kept)), labels.ids, 0).astype(np.uint8)
        found.append(_written(f"made-{seed}", volume, LabelMap(ids, labels.geometry, kept), out))
    return tuple(found)


def shown_as_ct(data: Path, out: Path) -> tuple[Case, ...]:
    """Every MR in GUISES guises."""
    found = []
    for number, case in enumerate(tqdm(cases_of((SHOWN,), data), "showing MR as CT")):
        for guise in range(GUISES):
            seed = FIRST_SEED + number * GUISES + guise
            found.append(_written(f"shown-{seed}", *recoloured(seed, read_image(case.image), case.truth()), out))
    return tuple(found)


def _written(name: str, volume: Volume, labels: LabelMap, out: Path) -> Case:
    out.mkdir(parents=True, exist_ok=True)
    image, label = out / f"{name}.nii.gz", out / f"{name}-labels.nii.gz"
    write_volume(volume, image)
    write_labels(labels, label)
    return Case(name, image, label, labels.names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--teacher", type=Path, required=True, metavar="MODEL")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    names, segmenter = read_label_names(args.data / NAMES[0], kind=NAMES[1]), Segmenter(load_model_file(args.teacher), "cpu")
    learnt = tuple(taught(each, args.data, args.out / "taught", segmenter, names) for each in UNLABELLED["abdomen-ct"])
    for name, cases in {"made": imagined(args.data, args.out / "made"), "shown": shown_as_ct(args.data, args.out / "shown"), "taught": learnt}.items():
        print(write_datalist(cases, args.out / name, "training"))


if __name__ == "__main__":
    sys.exit(ending(main))
