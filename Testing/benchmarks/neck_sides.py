"""How much a head and neck tells of right and left: whether its esophagus lies to the left of its spinal cord, as anatomy books have it.

    python -m Testing.benchmarks.neck_sides [--data DIR]

From the contours of OpenKBP, slice by slice where both are drawn. Somebody who calls a neck mirrored whenever the esophagus lies on the right
is right in the printed share of all volumes, mirrored or not; with perfect contours, more is not to be had from these two organs.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from DiffSegCore.data.cases import Case, read_dataset
from DiffSegCore.errors import BadInput
from DiffSegCore.reading import read_labels

from .bundled import ending
from .held_out import DATA

ORGANS = ("esophagus", "spinal_cord")
FEWEST = 5  # slices


def to_the_right_mm(case: Case, ids: tuple[int, int]) -> float | None:
    """Of the first organ from the second, the mean over slices; None where fewer than FEWEST hold both."""
    labels = read_labels(case.label)
    across = []
    for k, plane in enumerate(labels.ids):
        places = [np.argwhere(plane == id) for id in ids]
        if all(map(len, places)):
            first, second = (labels.geometry.to_ras((k, *each.mean(0)))[0] for each in places)
            across.append(first - second)
    return float(np.mean(across)) if len(across) >= FEWEST else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "ct_hn_openkbp", metavar="DIR")
    data = read_dataset(parser.parse_args().data)
    id_of = {name: id for id, name in data.labels.items()}
    found = [to_the_right_mm(case, tuple(id_of[organ] for organ in ORGANS)) for split in ("train", "validation") for case in data.cases[split]]
    known = np.array([mm for mm in found if mm is not None])
    if not len(known):
        raise BadInput("No case has contours of both the esophagus and the spinal cord in the same slices.")
    print(f"esophagus from spinal cord, {len(known)} of {len(found)} cases with both: {-known.mean():.1f} mm to the left (sd {known.std():.1f}); "
          f"on the left in {(known < 0).mean():.0%}")


if __name__ == "__main__":
    sys.exit(ending(main))
