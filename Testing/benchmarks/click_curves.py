"""Click curves of the bundled click model on structures that it never saw: sarcomas, abdominal MR, head and neck, abdominal CT.

    python -m Testing.benchmarks.click_curves -o evaluation [--cases N] [--clicks N]

What `diffseg evaluate-clicks` measures, from empty masks, automatic and corrupted ones, a case at a time, so that a stopped run goes on: one record a case in OUT/click/trials; then
OUT/click/clicks.md, .json and .png. OUT/click/lists holds a MONAI datalist of each set, which `diffseg evaluate-clicks --data` takes too.
"""
from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from DiffSegCore.click_evaluation.figure import save_curves
from DiffSegCore.click_evaluation.run import Task, Which, evaluated
from DiffSegCore.click_evaluation.summary import summary
from DiffSegCore.click_evaluation.trials import Round, SessionClicker, Trial
from DiffSegCore.click_refining import STEPS
from DiffSegCore.model import Model
from DiffSegCore.registry import find_model, load_click_model, load_model, name_of
from DiffSegCore.segmenter import Segmenter

from .bundled import arguments, ending, say
from .held_out import CHAOS, OPENKBP, SARCOMAS, SLABS, WHOLE_ABDOMEN, Source, cases_of, spread, write_datalist
from .records import Record, fingerprint, kept, markdown as table, records_in, write

CLICKS = 10
ABDOMEN = ("spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior_vena_cava", "pancreas",
           "adrenal_gland_right", "adrenal_gland_left", "duodenum", "urinary_bladder")


@dataclass(frozen=True)
class Curve:
    """A set of objects; cases: so many at most, spread over the source; organs: only these, () for all; start: the mask before the first
    click, as of `diffseg evaluate-clicks --from`; segmentor: the model that makes an automatic one."""

    title: str
    sources: tuple[Source, ...]
    cases: int | None = None
    organs: tuple[str, ...] = ()
    start: str = "empty"
    segmentor: str = ""

    def task(self, clicks: int) -> Task:
        return Task(self.start, clicks, segmenter=Segmenter(load_model(self.segmentor)) if self.segmentor else None)


CURVES = {
    "sarcoma-ct": Curve("soft-tissue sarcomas in CT, STS 028 to 037", SARCOMAS),
    "abdomen-mr": Curve("abdominal organs in T2 MR, CHAOS 30 and up", (CHAOS,)),
    "head-neck-ct": Curve("organs at risk in head-and-neck CT, OpenKBP test cases", (OPENKBP,), 5),
    "abdomen-ct-slabs": Curve("abdominal organs in CT slabs, AMOS", (SLABS,)),
    "abdomen-ct-whole": Curve("abdominal organs in a whole CT, TotalSegmentator", (WHOLE_ABDOMEN,), organs=ABDOMEN),
    "head-neck-ct-automatic": Curve("organs at risk in head-and-neck CT, OpenKBP test cases, from head-neck-ct's result", (OPENKBP,), 5,
                                    start="automatic", segmentor="head-neck-ct"),
    "abdomen-ct-slabs-automatic": Curve("abdominal organs in CT slabs, AMOS, from abdomen-ct's result", (SLABS,), start="automatic", segmentor="abdomen-ct"),
    "abdomen-ct-whole-automatic": Curve("abdominal organs in a whole CT, TotalSegmentator, from abdomen-ct's result", (WHOLE_ABDOMEN,), start="automatic", segmentor="abdomen-ct"),
    "sarcoma-ct-corrupted": Curve("soft-tissue sarcomas in CT, STS 028 to 037, from outlines corrupted to a Dice of .4 to .8", SARCOMAS, start="corrupted"),
}


def run(name: str, model: Model, data: Path, count: int | None, clicks: int, out: Path, steps: int = STEPS) -> list[Trial]:
    """The trials of one set, what is missing made first."""
    curve, mark = CURVES[name], fingerprint(model)
    cases, task = spread(cases_of(curve.sources, data), count or curve.cases), curve.task(clicks)
    for case in cases:
        def tried() -> Record:
            folder, which = write_datalist((case,), out / "lists" / name / case.name), Which(organs=curve.organs)
            trials = evaluated(folder, which, task, lambda prediction, organ: SessionClicker(model, steps=steps, prediction=prediction, organ=organ))
            say(f"{name}, {case.name}: mean Dice {sum(trial.rounds[-1].dice for trial in trials) / len(trials):.3f} after {clicks} clicks")
            return {"trials": [{**asdict(trial), "data": name} for trial in trials]}

        kept(out / "trials" / f"{clicks}-clicks" / name / f"{case.name}.json", mark, tried)
    write_datalist(cases, out / "lists" / name)
    return trials_of(records_in(out / "trials" / f"{clicks}-clicks" / name, mark))


def trials_of(records: Mapping[str, Record]) -> list[Trial]:
    return [Trial(**{**trial, "rounds": tuple(Round(**each) for each in trial["rounds"])}) for record in records.values() for trial in record["trials"]]


def summaries(trials: Mapping[str, Sequence[Trial]], clicks: int) -> dict[str, Any]:
    """Plain numbers for the card: every set's, over all its objects and for each of its organs."""
    return {"clicks": clicks, "sets": {name: {"title": CURVES[name].title, "from": CURVES[name].start, "cases": len({trial.case for trial in ones}), **summary(ones)}
                                                        for name, ones in trials.items()}}


def markdown(found: Mapping[str, Any]) -> str:
    """A row a set, then a row an organ of every set."""
    sets = found["sets"]
    shown = list(next(iter(sets.values()))["overall"]["dice"])
    head = ("objects", *(f"Dice@{n}" for n in shown), f"NSD@{shown[-1]}", "NoC85", "NoC90", "harmful", "p50 s", "p95 s")
    rows = [(f"{each['title']} ({each['cases']} cases)", *_cells(each["overall"], shown)) for each in sets.values()]
    organs = [(f"{organ}, {name}", *_cells(one, shown)) for name, each in sets.items() if len(each["organs"]) > 1 for organ, one in each["organs"].items()]
    words = (f"{found['clicks']} clicks, each into the largest error, from an empty mask where nothing else is said. Dice@n: after n clicks. NSD at 2 mm. NoC: clicks that a Dice "
             f"of .85 or .90 takes, {found['clicks']} where it is never reached. Harmful: clicks that cost more than .001 of Dice.")
    return "\n\n".join((words, table([("set", *head), *rows]), *([table([("organ", *head), *organs])] if organs else [])))


def _cells(one: Mapping[str, Any], shown: Sequence[str]) -> tuple[str, ...]:
    return (str(one["objects"]), *(f"{one['dice'][n]:.3f}" for n in shown), f"{one['nsd'][shown[-1]]:.3f}", f"{one['noc85']:.1f}", f"{one['noc90']:.1f}",
            f"{one['harmful']:.1%}", f"{one['seconds_p50']:.2f}", f"{one['seconds_p95']:.2f}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--clicks", type=int, default=CLICKS, metavar="N", help=f"an object (default: {CLICKS})")
    parser.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES), metavar="SET", help=f"of {', '.join(CURVES)}")
    args = parser.parse_args()
    model = load_click_model(args.model)
    out = args.out / (name_of(find_model(args.model)) if args.model else model.card["name"])
    trials = {name: run(name, model, args.data, args.cases, args.clicks, out) for name in args.only}
    found = summaries(trials, args.clicks)
    write(out / "clicks.json", {"model": fingerprint(model), **found})
    (out / "clicks.md").write_text(markdown(found), encoding="utf-8")
    save_curves(out / "clicks.png", trials, title="Click by click")
    print(markdown(found), flush=True)


if __name__ == "__main__":
    sys.exit(ending(main))
