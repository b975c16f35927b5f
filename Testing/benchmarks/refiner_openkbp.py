"""What the Bernoulli refiner adds to the organ head on OpenKBP, beside a feed-forward control and the published kernel.

    python Testing/benchmarks/refiner_openkbp.py run --refiner runs/refiner/head-neck-refiner.safetensors -o records
    python Testing/benchmarks/refiner_openkbp.py run --refiner runs/control/head-neck-refiner.safetensors -o records
    python Testing/benchmarks/refiner_openkbp.py table records
    python Testing/benchmarks/refiner_openkbp.py pack records openkbp.json      # ... of which `table openkbp.json` prints the same

Settings: the head alone, its labels as they are and as its chances promise the best Dice (head-decided), the control (one look), and every
kernel x steps x samples; refined labels are those that promise the best Dice. One record a case and setting; what is
there is not computed again. Organs that nobody contoured in a case are left out. Calibration and NLL are measured where the
head is in doubt or within 5 mm of the reference's outlines; the AUROC says how well entropy finds the errors within 5 mm of
the answer's own outlines. How often ranges of volumes hold the true one needs records of validation cases (--split validation), which they are
widened by: `table RECORDS --validation RECORDS`.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Iterator

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import torch
from openkbp import DATA, cases_of
from refiner_judging import Truth, judged
from refiner_table import pack, report
from refiner_volumes import volumes

from DiffSegCore.data.cases import Case, read_dataset
from DiffSegCore.data.label_names import organ_name
from DiffSegCore.decision import decided
from DiffSegCore.errors import BadInput
from DiffSegCore.files import atomic
from DiffSegCore.model import Model
from DiffSegCore.preprocess import to_model_grid
from DiffSegCore.reading import read_labels, read_volume
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.refining import KERNELS, Refinement, refinements
from DiffSegCore.regions import doubtful
from DiffSegCore.registry import DEFAULT, load_model
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import LabelMap

Setting = tuple[str, int, int]  # kernel ("head", "head-decided" and "control" too), steps, samples
HEADS = ("head", 0, 1), ("head-decided", 0, 1)
# The noisiest mask says nothing: all samples of one step are the same, and two steps are with both kernels.
ALL = [f"{kernel}-{steps}x{samples}" for steps in (1, 2, 4, 10) for samples in (1, 8)[:1 if steps == 1 else 2] for kernel in ("exact", "plug-in")[:1 if steps <= 2 else 2]]


def settings(refiner: Model, names: list[str]) -> list[Setting]:
    """Of names such as "exact-4x8": kernel, steps, samples. BadInput for others."""
    if not RefinerCard.of(refiner.card).diffusion:
        return [*HEADS, ("control", 1, 1)]
    found = [(name, re.fullmatch(rf"({'|'.join(KERNELS)})-(\d+)x(\d+)", name)) for name in names]
    for name, match in found:
        if match is None:
            raise BadInput(f"a setting is a kernel ({', '.join(KERNELS)}), steps and samples, as in exact-4x8; not {name!r}")
    return [*HEADS, *((match[1], int(match[2]), int(match[3])) for _, match in found)]


def place(out: Path, setting: Setting, case: str, seed: int) -> Path:
    kernel, steps, samples = setting
    name = kernel if setting in (*HEADS, ("control", 1, 1)) else f"{kernel}-{steps}x{samples}"
    return out / (name if seed == 0 else f"{name}-seed{seed}") / f"{case}.json"


def run_case(case: Case, names: dict[int, str], head: Segmenter, refiner: Model, wanted: list[Setting], seed: int, bf16: bool = False) -> Iterator[tuple[Setting, dict]]:
    """Records of one case; seconds are those of the head, and on top of them of the refinement."""
    volume, labels = read_volume(case.image), read_labels(case.label)
    labels = LabelMap(labels.ids, labels.geometry, {id: organ_name(name) for id, name in names.items()})
    prediction = head.segment(volume)
    prior = prediction.logits.float().softmax(0)
    organs, truth = head.model.organs, Truth.of(labels, head.model.organs, prediction.geometry)
    region = doubtful(prior, prediction.geometry.spacing)
    image, _ = to_model_grid(volume, refiner.preprocessing)
    for setting in (each for each in wanted if each in HEADS):
        yield setting, judged(prior, truth, organs, region, prediction.seconds, logits=decided(prior) if setting[0] == "head-decided" else None)
    for kernel, steps in dict.fromkeys((kernel, steps) for kernel, steps, samples in wanted if (kernel, steps, samples) not in HEADS):
        counts = sorted(samples for *way, samples in wanted if tuple(way) == (kernel, steps))
        asked = refinements(refiner, image, prior, steps=steps, samples=counts, seed=seed, kernel="exact" if kernel == "control" else kernel)
        for found, seconds in timed(asked, bf16):
            record = {**judged(found.chances, truth, organs, region, seconds, logits=found.logits, voxels=found.voxels), "windows": found.windows}
            for count in counts if steps == 1 or not found.windows else [len(found.voxels)]:
                yield (kernel, steps, count), record


def timed(asked: Iterator[Refinement], bf16: bool) -> Iterator[tuple[Refinement, float]]:
    """With the seconds that it took, others' work between them not counted."""
    seconds = 0.
    while True:
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = next(asked, None)
        if found is None:
            return
        seconds += time.monotonic() - began
        yield found, seconds


def run(args: argparse.Namespace) -> None:
    dataset = read_dataset(args.data, label_file="oar")
    refiner, head = load_model(args.refiner), Segmenter(load_model(args.head), "cpu", refine=False)
    refiner.network.to(memory_format=torch.channels_last_3d)
    if refiner.preprocessing != head.model.preprocessing:
        raise BadInput("Head and refiner prepare images in different ways, so one's chances are no prior for the other.")
    for case in cases_of(dataset, args.split, args.cases)[args.share[0] - 1::args.share[1]]:
        todo = [s for s in settings(refiner, args.settings) if not place(args.out, s, case.name, args.seed).exists()]
        if not todo:
            continue
        for setting, record in run_case(case, dataset.labels, head, refiner, todo, args.seed, args.bf16):
            path = place(args.out, setting, case.name, args.seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as temporary:
                temporary.write_text(json.dumps({"case": case.name, "seed": args.seed, "refiner": refiner.sha256, "head": head.model.sha256, **record}))
            mean = sum(record["dice"].values()) / max(1, len(record["dice"]))
            print(f"{case.name} {path.parent.name}: Dice {mean:.3f}, NLL {record['nll']:.3f}, {record['seconds']:.1f} s", file=sys.stderr, flush=True)


def share(text: str) -> tuple[int, int]:
    """"2/3" -> (2, 3); ValueError, which argparse turns into a message, for what is no share."""
    number, count = map(int, text.split("/"))
    if not 1 <= number <= count:
        raise ValueError(text)
    return number, count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("run", help="make records")
    make.add_argument("--refiner", required=True, metavar="FILE", help="a refiner or a control, by its card")
    make.add_argument("--head", default=DEFAULT, metavar="NAME|FILE")
    make.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    make.add_argument("--data", type=Path, default=DATA)
    make.add_argument("--split", default="test")
    make.add_argument("--cases", type=int, metavar="N", help="only the first N")
    make.add_argument("--share", type=share, default=(1, 1), metavar="K/N", help="only the K-th of N shares of the cases: several processes can share them")
    make.add_argument("--settings", nargs="+", default=ALL, metavar="KERNEL-STEPSxSAMPLES", help="of a refiner, in this order (default: %(default)s)")
    make.add_argument("--bf16", action="store_true", help="networks in bfloat16: two thirds of the time; one voxel in three hundred of the organs differs")
    make.add_argument("--seed", type=int, default=0)
    show = commands.add_parser("table", help="tables and paired tests of records")
    show.add_argument("records", type=Path, metavar="DIR|FILE.json")
    show.add_argument("--validation", type=Path, metavar="DIR|FILE.json", help="records of the validation cases")
    show.add_argument("--against", nargs="+", default=["head", "control"], metavar="SETTING", help="what each setting is tested against")
    packing = commands.add_parser("pack", help="what the tables need, in one file")
    packing.add_argument("records", type=Path, metavar="DIR")
    packing.add_argument("file", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    try:
        if args.command == "run":
            run(args)
        elif args.command == "pack":
            pack(args.records, args.file)
        else:
            print(report(args.records, args.against))
            if args.validation:
                print(f"\n{volumes(args.records, args.validation)}")
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
