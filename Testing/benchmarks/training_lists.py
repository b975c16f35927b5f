"""A list of training cases with the names of their labels, for data that lies there without: `make train-abdomen-ct` begins with it.

    python -m Testing.benchmarks.training_lists abdomen-ct --data ../shared/data -o runs/abdomen-ct/data
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .bundled import ending
from .held_out import DATA, Source, cases_of, write_datalist

LEARNT_FROM = {"abdomen-ct": (Source("ct_abdomen/ts_dicom_slab", "ct.nii.gz", "label_ts117.nii.gz", "label_maps/ts_class_map.json", "total"),)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=LEARNT_FROM)
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    print(write_datalist(cases_of(LEARNT_FROM[args.model], args.data), args.out, "training"))


if __name__ == "__main__":
    sys.exit(ending(main))
