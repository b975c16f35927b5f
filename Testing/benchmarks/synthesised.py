"""A bundled model of the abdomen in CT on images that never were: imagined from the label maps of its training, in builds, phases and scans that it did not see,
and test patients' MR shown as CT.

    python -m Testing.benchmarks.synthesised -o evaluation [--model NAME] [--cases N]

N images of each kind, 12 unless said otherwise. They are easier than real scans, so their table stands apart from that of the real ones. Images and records go to
OUT/NAME/synthesised; then OUT/NAME/synthesised.md and .json.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

from DiffSegCore.data.abdomen import Body, abdomen, recoloured
from DiffSegCore.data.label_names import read_label_names
from DiffSegCore.data.sources import read_image, read_truth
from DiffSegCore.segmentors import open_segmenter
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

from .bundled import arguments, ending, organ_models
from .evaluate_models import measured
from .evaluation_table import markdown, summary
from .held_out import CHAOS, Case, cases_of
from .records import asked_mark, fingerprint, kept, records_in, write

MODELS = ("abdomen-ct",)
COUNT, FIRST_SEED = 12, 100_000  # far beyond the seeds that a training takes
BODIES, NAMES = ("label_maps/s0327_ts117.nii.gz", "label_maps/s0328_ts117.nii.gz"), "label_maps/ts_class_map.json"
TITLE = "synthesised images: abdomens imagined from the two label maps of the training, seeds that it did not see, and MR of CHAOS test patients shown as CT"
SPLIT = "made, not scanned"


def made(data: Path, out: Path, count: int) -> list[Case]:
    """Image and labels of every case, as files: what is there is not made again."""
    names = read_label_names(data / NAMES, kind="total")
    bodies = [LabelMap(each.ids, each.geometry, names) for each in (read_truth(data / file) for file in BODIES)]
    ready: dict[int, Body] = {}

    def imagined(number: int) -> tuple[Volume, LabelMap]:
        which = number % len(bodies)
        if which not in ready:
            ready[which] = Body.of(bodies[which], names)
        return abdomen(FIRST_SEED + number, ready[which])

    people = cases_of((CHAOS,), data)

    def shown(number: int) -> tuple[Volume, LabelMap]:
        case = people[number % len(people)]
        return recoloured(FIRST_SEED + number, read_image(case.image), case.truth())

    return [*(_kept(out, f"imagined-{n}", lambda n=n: imagined(n), complete=True) for n in range(count)),
            *(_kept(out, f"recoloured-{n}", lambda n=n: shown(n), complete=False) for n in range(count))]


def _kept(out: Path, name: str, make: Callable[[], tuple[Volume, LabelMap]], complete: bool) -> Case:
    image, label = out / f"{name}.nii.gz", out / f"{name}-labels.nii.gz"
    if not label.is_file():
        volume, labels = make()
        out.mkdir(parents=True, exist_ok=True)
        write_volume(volume, image)
        write_labels(labels, label)
    return Case(name, image, label, read_truth(label).names, complete)


def main() -> None:
    args = arguments(__doc__).parse_args()
    for name, model in organ_models(args.model):
        if name not in MODELS and not args.model:
            continue
        out, mark, segmenter = args.out / name, asked_mark(model), open_segmenter(args.model or name)
        for case in made(args.data, out / "synthesised" / "images", args.cases or COUNT):
            kept(out / "synthesised" / f"{case.name}.json", mark, lambda: measured(case, segmenter))
        found = {"name": name, "title": TITLE, "split": SPLIT, **summary(records_in(out / "synthesised", mark))}
        write(out / "synthesised.json", {"model": fingerprint(model), **found})
        (out / "synthesised.md").write_text(markdown(found), encoding="utf-8")
        print(f"{markdown(found)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(ending(main))
