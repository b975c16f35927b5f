"""What disturbed scans do to a bundled organ model's answers, and whether it warns of volumes that are not its own kind.

    python -m Testing.benchmarks.robustness -o evaluation [--model NAME] [--cases N]

Each of the first ten test cases (--cases: another number) is segmented as it is and after every disturbance of disturbances.py; the reference goes
through the same, so that a change in Dice is the model's (and of the coarser reference). One record a case and disturbance in OUT/NAME/robustness;
then OUT/NAME/robustness.md and .json. Volumes of another part of the body, or of another modality, have no Dice: they have to give a warning.
"""
from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Callable

from DiffSegCore.metrics import compare
from DiffSegCore.organ_volumes import organ_volumes
from DiffSegCore.reading import read_volume
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.segmentors import open_segmenter
from DiffSegCore.volume import LabelMap, Volume

from .bundled import arguments, ending, organ_models, say
from .disturbances import Disturbance, disturbances
from .held_out import FOREIGN, Case, cases_of, held_out
from .records import Record, asked_mark, fingerprint, kept, records_in, write
from .robustness_table import markdown, summary

CASES = 10
STRANGE = "out-of-domain"


def disturbed(case: Case, disturbance: Disturbance, segmenter: Segmenter) -> Record:
    """Dice of every organ that is left in the disturbed reference, and what was warned of; or how it ended."""
    volume, truth = disturbance.apply(read_volume(case.image), case.truth())
    return surviving(lambda: judged(volume, truth, segmenter), f"{case.name}, {disturbance.title}")


def judged(volume: Volume, truth: LabelMap, segmenter: Segmenter) -> Record:
    found = segmenter.segment(volume)
    scores = compare(found.labels, truth, organs=segmenter.model.organs, skip_empty=True)
    return {"dice": {each.organ: each.dice for each in scores}, "warnings": list(found.warnings)}


def strange(volume: Volume, segmenter: Segmenter, what: str) -> Record:
    """What was warned of, and the millilitres that were found of organs which are not there."""
    def looked() -> Record:
        found = segmenter.segment(volume)
        return {"warnings": list(found.warnings), "ml": sum(each.ml for each in organ_volumes(found.labels))}

    return surviving(looked, what)


def surviving(work: Callable[[], Record], what: str) -> Record:
    """The work's record, or the error that ended it: how often that happens is what is measured here."""
    try:
        record = work()
    except Exception as error:  # whatever it is
        traceback.print_exc()
        record = {"error": f"{type(error).__name__}: {error}"}
    say(f"{what}: {record.get('error') or '; '.join(record['warnings']) or 'no warning'}")
    return record


def run(name: str, segmenter: Segmenter, data: Path, count: int, out: Path) -> dict[str, dict[str, Record]]:
    """{disturbance: {case: record}}, what is missing made first."""
    about, mark, modality = held_out(name), asked_mark(segmenter.model), segmenter.model.preprocessing.modality
    for case in cases_of(about.sources, data, count):
        for each in disturbances(modality):
            kept(out / each.name / f"{case.name}.json", mark, lambda: disturbed(case, each, segmenter))
    for what in about.strange:
        kept(out / STRANGE / f"{what}.json", mark, lambda: strange(read_volume(data / FOREIGN[what]), segmenter, what))
    return {folder: records_in(out / folder, mark) for folder in (*(each.name for each in disturbances(modality)), STRANGE)}


def main() -> None:
    args = arguments(__doc__).parse_args()
    for name, model in organ_models(args.model):
        out, segmenter = args.out / name, open_segmenter(args.model or name)
        records = run(name, segmenter, args.data, args.cases or CASES, out / "robustness")
        titles = {each.name: each.title for each in disturbances(model.preprocessing.modality)}
        found = {"name": name, **summary(records, titles, records.pop(STRANGE))}
        write(out / "robustness.json", {"model": fingerprint(model), **found})
        (out / "robustness.md").write_text(markdown(found), encoding="utf-8")
        print(f"{name}\n\n{markdown(found)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(ending(main))
