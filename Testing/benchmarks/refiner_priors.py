"""Priors from elsewhere: reference labels corrupted to a known Dice, refined without retraining. Dice after against Dice before.

    python Testing/benchmarks/refiner_priors.py run --refiner FILE --data ../shared/data/ct_hn_openkbp --split test -o records/openkbp
    python Testing/benchmarks/refiner_priors.py run --refiner OBJECT --data ../shared/data/ct_lesion_sts --split train -o records/sts
    python Testing/benchmarks/refiner_priors.py run --refiner OBJECT --data ../shared/data/mr_abdomen_chaos_t2 --split train --as-ct -o records/mr
    python Testing/benchmarks/refiner_priors.py table records/openkbp records/sts records/mr
    python Testing/benchmarks/refiner_priors.py pack records/openkbp records/sts records/mr -o priors.json      # ... of which `table priors.json` prints the same

One record a case, Dice and seed; what is there is not computed again. --as-ct maps the 1st to 99th percentile of an image of another
modality onto the HU of soft tissue, -150 to 250, for a refiner that learnt from CT alone.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import zlib
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np

from DiffSegCore.data.cases import Case, read_dataset
from DiffSegCore.data.label_names import organ_name
from DiffSegCore.data.priors import corrupt_to
from DiffSegCore.data.sources import read_image, read_truth
from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import aligned
from DiffSegCore.files import atomic
from DiffSegCore.metrics import compare
from DiffSegCore.model import Model
from DiffSegCore.refined_labels import refine_labels
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.registry import load_model
from DiffSegCore.volume import LabelMap, Volume
from Testing.benchmarks.records import write

SOFT_TISSUE_HU = (-150., 250.)


def as_ct(volume: Volume) -> Volume:
    """The image's values as if they were HU of soft tissue; what is dark becomes air."""
    low, high = np.percentile(volume.array, (1, 99))
    scaled = (volume.array.astype(np.float32) - low) / max(high - low, 1e-6)
    hu = SOFT_TISSUE_HU[0] + scaled * (SOFT_TISSUE_HU[1] - SOFT_TISSUE_HU[0])
    return Volume(np.where(scaled < .02, -1000, hu).astype(np.float32), volume.geometry, "")


def refined(model: Model, case: Case, names: dict[int, str], dice: float, steps: int, samples: int, seed: int, turn_ct: bool) -> list[dict]:
    """A row of plain values for each label: its Dice and NSD before and after."""
    volume, truth = read_image(case.image), read_truth(case.label)
    volume = as_ct(volume) if turn_ct else volume
    named = {id: organ_name(name) for id, name in names.items()}
    truth = LabelMap(truth.ids, truth.geometry, named)
    random = np.random.default_rng((seed, zlib.crc32(case.name.encode()), round(1000 * dice)))
    spoilt = LabelMap(corrupt_to(dice, truth.ids, random, truth.geometry.spacing), truth.geometry, named)
    found = refine_labels(model, volume, spoilt, steps=steps, samples=samples, seed=seed)
    before, after = (compare(labels, truth, skip_empty=True) for labels in (spoilt, found.labels))
    sizes = {size.name: size for size in found.sizes}
    return [{"organ": a.organ, "wanted": dice, "dice": [a.dice, b.dice], "nsd": [a.nsd, b.nsd], "hd95_mm": [a.hd95_mm, b.hd95_mm],
             "true_ml": a.reference_ml, "range_ml": [sizes[a.organ].low_ml, sizes[a.organ].high_ml] if a.organ in sizes else None,
             "seconds": found.seconds} for a, b in zip(before, after)]


def run(args: argparse.Namespace) -> None:
    dataset, model = read_dataset(args.data, label_file=args.label_file), load_model(args.refiner)
    steps = args.steps or RefinerCard.of(model.card).steps
    args.out.mkdir(parents=True, exist_ok=True)
    if args.split not in dataset.cases:
        raise BadInput(f"There is no split '{args.split}' in {args.data}; there are {', '.join(dataset.cases)}.")
    for case in dataset.cases[args.split][args.first:][:args.cases]:
        for dice in args.dice:
            path = args.out / f"{case.name}-{dice:g}-{args.seed}.json"
            if not path.exists():
                rows = refined(model, case, dataset.labels, dice, steps, args.samples, args.seed, args.as_ct)
                with atomic(path) as temporary:
                    temporary.write_text(json.dumps({"case": case.name, "refiner": model.sha256, "rows": rows}))
                print(f"{path.stem}: " + ", ".join(f"{r['organ']} {r['dice'][0]:.2f} -> {r['dice'][1]:.2f}" for r in rows), file=sys.stderr, flush=True)


def rows_of(places: list[Path]) -> dict[str, list[dict]]:
    """{data set: rows} of folders of records, or of a file that `pack` wrote."""
    if len(places) == 1 and places[0].is_file():
        return json.loads(places[0].read_text(encoding="utf-8"))
    found = {folder.name: [row for path in sorted(folder.glob("*.json")) for row in json.loads(path.read_text())["rows"]] for folder in places}
    for name, rows in found.items():
        if not rows:
            raise BadInput(f"There are no records in {name}.")
    return found


def table(found: dict[str, list[dict]]) -> str:
    """For every data set and wanted Dice: means over labels and cases, before and after, and how often Dice rose."""
    lines = [("records", "wanted", "n", "Dice before", "after", "NSD before", "after", "HD95 before", "after", "rose", "seconds")]
    for name, rows in found.items():
        for wanted in sorted({row["wanted"] for row in rows}):
            some = [row for row in rows if row["wanted"] == wanted]
            numbers = [f"{statistics.fmean(row[key][n] for row in some):.{1 if key == 'hd95_mm' else 3}f}" for key in ("dice", "nsd", "hd95_mm") for n in (0, 1)]
            rose = statistics.fmean(row["dice"][1] > row["dice"][0] for row in some)
            lines.append((name, f"{wanted:g}", str(len(some)), *numbers, f"{rose:.2f}", f"{statistics.median(row['seconds'] for row in some):.1f}"))
    return aligned(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make, show, packing = (commands.add_parser(name) for name in ("run", "table", "pack"))
    make.add_argument("--refiner", required=True, metavar="FILE")
    make.add_argument("--data", type=Path, required=True, metavar="DIR")
    make.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    make.add_argument("--split", default="test")
    make.add_argument("--label-file", help="as of a folder a case, such as oar")
    make.add_argument("--first", type=int, default=0, metavar="N", help="leave out the N cases before")
    make.add_argument("--cases", type=int, metavar="N", help="so many at most")
    make.add_argument("--dice", type=float, nargs="+", default=[.5, .7, .9])
    make.add_argument("--steps", type=int, help="as many as served validation cases best, by the refiner's card, unless given")
    make.add_argument("--samples", type=int, default=4)
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--as-ct", action="store_true")
    for each in (show, packing):
        each.add_argument("records", type=Path, nargs="+", metavar="DIR|FILE.json")
    packing.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()
    try:
        if args.command == "run":
            run(args)
        elif args.command == "pack":
            write(args.out, rows_of(args.records))
        else:
            print(table(rows_of(args.records)))
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
