"""Dice, surface Dice and HD95 on the OpenKBP head-and-neck CTs, by the files that `diffseg segment` would leave.

    python Testing/benchmarks/openkbp.py --model head-neck-ct --out openkbp.json
    python Testing/benchmarks/openkbp.py --baseline runs/dynunet/dynunet.pt

Every case is segmented on its own grid, written, read back and compared with the clinical contours. An organ that is
not contoured in a case is left out there: empty means "nobody drew it". The grids are coarse, about 4 x 4 x 2.5 mm.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from DiffSegCore.data.cases import Case, Dataset, read_dataset
from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import aligned, evaluate
from DiffSegCore.files import atomic
from DiffSegCore.metrics import OrganScore, summarise
from DiffSegCore.reading import read_volume
from DiffSegCore.registry import DEFAULT, load_model
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_hn_openkbp"
METRICS = {"dice": "Dice", "nsd": "NSD at 2 mm", "hd95_mm": "HD95 mm"}

Segment = Callable[[Volume], LabelMap]
Scores = Mapping[str, Sequence[OrganScore]]  # by case


def segmenter(name: str) -> Segment:
    """The model by name or path, as `diffseg segment` runs it."""
    engine = Segmenter(load_model(name))
    return lambda volume: engine.segment(volume).labels


def baseline(path: str) -> Segment:
    """A checkpoint of the plain network that dynunet.py trains."""
    import dynunet

    return dynunet.load(path)


def cases_of(dataset: Dataset, split: str, first: int | None) -> tuple[Case, ...]:
    """The labelled cases of a split, or its `first` ones."""
    if split not in dataset.cases:
        raise BadInput(f"There is no split '{split}'; there are {', '.join(dataset.cases)}.")
    cases = dataset.cases[split][:first]
    if any(case.label is None for case in cases):
        raise BadInput(f"The {split} cases have no labels to compare with.")
    return cases


def run(segment: Segment, cases: Sequence[Case], labels: Mapping[int, str]) -> tuple[Scores, dict[str, float]]:
    """Scores and seconds (read, segment, write) of every case; `labels` says what ids in the reference files mean."""
    scores: dict[str, list[OrganScore]] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="openkbp-") as folder:
        table = Path(folder, "labels.json")
        table.write_text(json.dumps(labels), encoding="utf-8")
        for case in cases:
            found, began = Path(folder, f"{case.name}.nii.gz"), time.perf_counter()
            write_labels(segment(read_volume(case.image)), found)
            seconds[case.name] = time.perf_counter() - began
            scores[case.name] = evaluate(found, case.label, table, skip_empty=True)
            found.unlink()
            dice = statistics.fmean(s.dice for s in scores[case.name]) if scores[case.name] else float("nan")
            print(f"{case.name}: {seconds[case.name]:.1f} s, mean Dice {dice:.3f}", file=sys.stderr, flush=True)
    return scores, seconds


def report(scores: Scores) -> str:
    """A table a metric: a line an organ, and the mean over organs."""
    return "\n\n".join(_table(scores, metric, title) for metric, title in METRICS.items())


def _table(scores: Scores, metric: str, title: str) -> str:
    digits = 1 if metric == "hd95_mm" else 3
    organs = summarise(scores, metric)
    rows = [(s.organ, str(s.n), *(f"{v:.{digits}f}" for v in (s.mean, s.sd, s.median, s.worst)), s.worst_case)
            for s in organs]
    mean = statistics.fmean(s.mean for s in organs)
    return aligned([(title, "n", "mean", "sd", "median", "worst", "case"), *rows,
                    ("mean over organs", "", f"{mean:.{digits}f}", "", "", "", "")])


def as_json(scores: Scores, seconds: Mapping[str, float], **about: str) -> str:
    """What the report rounds, with every case's scores."""
    summaries = {metric: [asdict(s) for s in summarise(scores, metric)] for metric in METRICS}
    means = {metric: statistics.fmean(s["mean"] for s in organs) for metric, organs in summaries.items()}
    return json.dumps({**about, "cases": len(scores), "seconds_median": statistics.median(seconds.values()),
                       "mean_over_organs": means, "organs": summaries,
                       "by_case": {case: [asdict(s) for s in ones] for case, ones in scores.items()},
                       "seconds_by_case": dict(seconds)}, indent=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", default=DEFAULT, metavar="NAME|PATH")
    what.add_argument("--baseline", metavar="FILE", help="a checkpoint of dynunet.py instead of a model")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", default="test")
    parser.add_argument("--label-file", default="oar")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N cases, for a quick look")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    try:
        dataset = read_dataset(arguments.data, label_file=arguments.label_file)
        cases = cases_of(dataset, arguments.split, arguments.first)
        segment = baseline(arguments.baseline) if arguments.baseline else segmenter(arguments.model)
        scores, seconds = run(segment, cases, dataset.labels)
        print(report(scores))
        if arguments.out:
            with atomic(arguments.out) as temporary:
                temporary.write_text(as_json(scores, seconds, model=Path(arguments.baseline or arguments.model).name,
                                             data=arguments.data.name, split=arguments.split), encoding="utf-8")
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
