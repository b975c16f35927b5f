"""Every bundled organ model on cases that it never saw: Dice, surface Dice, HD95, calibration and seconds, and a picture of the worst case.

    python -m Testing.benchmarks.evaluate_models -o evaluation [--model NAME] [--cases N]

One record a case in OUT/NAME/cases; then OUT/NAME/evaluation.md and .json, and the worst case in OUT/NAME/pictures, found and true. Every case is segmented
on its own grid, as `diffseg segment` does it. An organ without a voxel in the reference has no Dice there: it was not contoured or is absent; where
the reference is complete, what was found of it all the same is counted.
"""
from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from DiffSegCore.confidence import organs_found
from DiffSegCore.metrics import compare
from DiffSegCore.organ_volumes import organ_volumes
from DiffSegCore.pictures import save_picture
from DiffSegCore.reading import read_volume
from DiffSegCore.regions import doubtful
from DiffSegCore.segmenter import Prediction, Segmenter
from DiffSegCore.segmentors import open_segmenter
from DiffSegCore.volume import LabelMap

from .bundled import arguments, ending, organ_models, say
from .evaluation_table import markdown, summary
from .held_out import Case, cases_of, held_out
from .measure import machine
from .records import Record, asked_mark, fingerprint, kept, records_in, write
from .refiner_judging import Truth, calibrated


def measured(case: Case, segmenter: Segmenter) -> Record:
    """Scores by organ; seconds to read and segment, by the clock and of the processor, which a busy machine does not lengthen; calibration
    where the model is in doubt; the Dice that it expects of each organ, and the range of its volume with the rate at which such ranges should hold.
    """
    began, busy = time.perf_counter(), time.process_time()
    prediction = segmenter.segment(read_volume(case.image))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - busy
    truth, organs = case.truth(), segmenter.model.organs
    scores, said = compare(prediction.labels, truth, organs=organs, skip_empty=True), organs_found(prediction)
    say(f"{case.name}: {seconds:.1f} s, mean Dice {sum(each.dice for each in scores) / max(1, len(scores)):.3f}")
    return {"case": case.name, "seconds": seconds, "cpu_seconds": cpu_seconds, "machine": machine(), "warnings": list(prediction.warnings),
            "scores": [asdict(each) for each in scores], "calibration": calibration(prediction, truth, organs),
            "expected": {each.size.name: each.confidence for each in said},
            "ranges": {each.size.name: [each.low_ml, each.high_ml, each.rate] for each in said},
            "false_ml": false_ml(prediction.labels, truth) if case.complete else {}}


def calibration(prediction: Prediction, truth: LabelMap, organs: tuple[str, ...]) -> dict[str, float]:
    chances = prediction.logits.float().softmax(0)
    return calibrated(chances, Truth.of(truth, organs, prediction.geometry), doubtful(chances, prediction.geometry.spacing))


def false_ml(found: LabelMap, truth: LabelMap) -> dict[str, float]:
    """What was found of organs that the reference names and has no voxel of."""
    absent = {name for id, name in truth.names.items() if not (truth.ids == id).any()}
    return {each.name: each.ml for each in organ_volumes(found) if each.ml and each.name in absent}


def pictures(case: Case, segmenter: Segmenter, note: str, out: Path) -> Record:
    """What was found in the case and what is true, drawn alike; their files' names."""
    volume, truth = read_volume(case.image), case.truth()
    known = {id: name for id, name in truth.names.items() if name in segmenter.model.organs}
    ids = np.where(np.isin(truth.ids, list(known)), truth.ids, 0).astype(truth.ids.dtype)
    out.mkdir(parents=True, exist_ok=True)
    drawn = {"found": segmenter.segment(volume).labels, "reference": LabelMap(ids, truth.geometry, known)}
    for what, labels in drawn.items():
        save_picture(out / f"{case.name}-{what}.png", volume, labels, title=f"{case.name}: {what}", note=note)
    return {"files": [f"{case.name}-{what}.png" for what in drawn]}


def main() -> None:
    args = arguments(__doc__).parse_args()
    for name, model in organ_models(args.model):
        about, out, mark, segmenter = held_out(name), args.out / name, asked_mark(model), open_segmenter(args.model or name)
        cases = {case.name: case for case in cases_of(about.sources, args.data, args.cases)}
        for case in cases.values():
            kept(out / "cases" / f"{case.name}.json", mark, lambda: measured(case, segmenter))
        records = records_in(out / "cases", mark)
        found = {"name": name, "title": about.title, "split": about.split, **summary(records)}
        write(out / "evaluation.json", {"model": fingerprint(model), **found})
        (out / "evaluation.md").write_text(markdown(found), encoding="utf-8")
        if (worst := found["worst_case"]) in cases:
            note = f"{name}, the worst of {len(records)} cases: mean Dice {found['worst_dice']:.3f}"
            kept(out / "pictures" / f"{worst}.json", mark, lambda: pictures(cases[worst], segmenter, note, out / "pictures"))
        print(f"{markdown(found)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(ending(main))
