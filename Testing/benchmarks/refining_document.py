"""docs/Refining.md of the records in docs/refining: what the Bernoulli refiner does to a segmentor's answers.

    python -m Testing.benchmarks.refining_document > docs/Refining.md

Records come from refiner_openkbp.py, alternating.py, refiner_priors.py, vessels.py and brains.py, each of which tells how.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Callable

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import brains
import refiner_priors
import refiner_samples
import refiner_table
import refiner_trainings
import refiner_volumes
import vessels

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "refining"
PAIR = "head", "exact-2x1"
HEAD = """# What the refiner does

A segmentor's chances are the prior; a Bernoulli diffusion (exclusive labels: a categorical one) refines them where they are in doubt. Everything here was trained for minutes to
half an hour on one CPU core, so it compares ways, not what a GPU would reach. No setting was chosen beforehand: all that were run are here, and which is best is read off the test cases.
Seconds were taken beside other work on the same two cores. `python -m Testing.benchmarks.refining_document` makes this page of
the records in `docs/refining`."""

TRAININGS = "openkbp", "openkbp-again", "openkbp-third"
THREE = """One recipe trained three times: the second time with the first's seed on another kind of processor, so that only roundings differ, the third time with
another seed. Means ± standard deviations over the trainings, each on all 40 test cases; below, each training's differences. The sections after this one have every organ and the tests.

One look betters the head each time. The control, the same network that answers without noise, does as well: between the two no difference in Dice, NSD or NLL keeps its sign, whatever
a paired test over the cases of one training says, and the refiner's ECE is the lower one each time, by too little to matter. Both learn one thing, the chance of a label given image and
prior, by a proper loss, and a refiner's first look, at a mask that says nothing, is that chance. More steps lose, for two reasons (below)."""
WHY = """A chain whose network knows its own noise ends, over endlessly many samples, at the chances of its first look: its steps only draw from them. The squared error (Brier score,
where NLL is measured) of the mean of n samples is that of endlessly many, and their variance divided by n; so one and eight tell the limit. What lies between `one sample` and `of endlessly
many` is lost to chance, and more samples win it back. What the limit lies above `one look` is the network's own error, which adds up over steps. That two, four and eight samples tell the same limit shows that the law holds here. Third training."""


def document(records: Path = RECORDS) -> str:
    """Markdown, a table for every kind of record."""
    parts = [HEAD]
    for title, text, made in _tables(records):
        parts += [f"## {title}", text, f"```\n{made()}\n```"]
    return "\n\n".join(parts) + "\n"


def _tables(records: Path) -> list[tuple[str, str, Callable[[], str]]]:
    def loaded(name: str):
        return json.loads((records / name).read_text(encoding="utf-8"))

    return [
        ("On an organ head", THREE, lambda: refiner_trainings.across([refiner_table.shared(records / f"{name}.json") for name in TRAININGS])),
        ("First training", "OpenKBP, seven organs at 4 mm, test cases. Head: 1000 steps of two windows of 48³. Refiner and control: 1000 steps each, the same network, "
         "which reads the head's features; priors are the head's answers to the cases that it learnt from. The control sees no noisy mask and answers at once. "
         "\"exact-2x1\": the exact kernel, 2 steps, 1 sample; \"plug-in\": as published; one step and two are the same with both, for the noisiest mask says nothing. Computed in bfloat16 (`--bf16`). "
         "How to read the columns: `Testing/benchmarks/refiner_openkbp.py`.",
         lambda: refiner_table.report(records / "openkbp.json", ["head", "control"])),
        ("Second training", "Recipe, data and seeds as above, trained once more on another kind of processor, and with the refiner's first convolution computed in another order: only roundings differ. Against the head all is as it was. Against the control it is not: "
         "what the paired tests above find (NLL lower in 38 of 40 cases) is here the other way round (higher in 35). Tests over cases know nothing of how much two trainings differ. "
         "So one look of the refiner and its control are as good as each other: both see image and prior alone. More steps lose in both trainings.",
         lambda: refiner_table.report(records / "openkbp-again.json", ["head", "control", "exact-4x8"])),
        ("Third training", "Another seed; also eight samples of ten steps, and between.",
         lambda: refiner_table.report(records / "openkbp-third.json", ["head", "control", "exact-10x8"])),
        ("Why more steps lose", WHY, lambda: refiner_samples.limits(refiner_table.shared(records / "openkbp-third.json"))),
        ("The published kernel", "It evaluates the reverse step at the network's chance, where the exact kernel takes the step's mean over what the mask may be (`Testing/core/test_bernoulli.py` shows where each ends). "
         "From the noisiest level the two are the same, so the first steps differ little. One sample of the first training, then eight of the third: of eight, the published kernel's "
         "labels are the worse ones, its chances the better calibrated ones, for its samples differ more.",
         lambda: "\n\n".join(refiner_table.report(records / f"{name}.json", [f"exact-{way}"], (f"exact-{way}", f"plug-in-{way}"))
                             for name, way in (("openkbp", "4x1"), ("openkbp", "10x1"), ("openkbp-third", "10x8")))),
        ("Ranges of volumes", "How often a range holds the true volume, of every organ that was drawn in a test case, and the median of the ranges' widths as a share of the true volume. "
         "Samples: between the 5th and the 95th percentile of the samples' volumes. Chances: between the volumes of the voxels whose chance is .75 and .25 or more. Widened: that, "
         "by as much as the 15 validation cases need to hold in nine of ten (`DiffSegCore/volume_ranges.py`); this is what `diffseg refine` prints. With more steps chances are surer than they are right, so that a range has to be fitted for each number of steps. By training.",
         lambda: "\n\n".join(refiner_volumes.volumes(records / f"{name}.json", records / f"{name}-validation.json") for name in TRAININGS)),
        ("Learning in turns", "The first pair above, trained one after the other, and a pair trained in turns on the same machine (HiDiff's alternate-collaborative way): as many steps of each network.",
         lambda: "\n\n".join(f"{way}\n\n{refiner_table.report(records / file, ['head'], PAIR)}" for way, file in (("apart", "openkbp.json"), ("in turns", "in-turns.json")))),
        ("Priors from elsewhere", "Reference labels corrupted to a Dice, and refined by a refiner of one object that learnt from OpenKBP's training cases alone (3000 steps): organs of its test "
         "cases, sarcomas in CT, and liver, kidneys and spleen in MR, whose values were mapped onto HU of soft tissue. One step, as its validation cases chose.\n\n"
         "![Dice after against Dice before: a dot a label, a line a data set's means](../Resources/Screenshots/priors.png)",
         lambda: refiner_priors.table(loaded("priors.json"))),
        ("Thin structures", "Generated vessel trees in colour pictures (`Testing/benchmarks/vessels.py`); the segmentor learnt from 40 pictures, refiners from 40 others.",
         lambda: vessels.table(loaded("vessels.json"))),
        ("Four channels", "Generated brains with tumours, T1, T1 with contrast agent, T2 and FLAIR (`Testing/benchmarks/brains.py`).", lambda: brains.table(loaded("brains.json"))),
    ]


if __name__ == "__main__":
    print(document(), end="")
