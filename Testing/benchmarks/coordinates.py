"""Body coordinates of a model on labelled volumes that it was not trained on: monotone, aligned, and not fooled by wrong headers.

    python -m Testing.benchmarks.coordinates --model runs/body/body-ct.safetensors --picture body.png

Prints for every volume Spearman's correlation of u_z with z, for every organ the spread of its centroid in mm, and how many
volumes are noticed when their axes are turned over, beside how many are doubted as they are.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Mapping, Sequence

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.alignment import Placed, centroids, located, spreads
from DiffSegCore.coordinates import CoordinateModel, orientation_doubts
from DiffSegCore.data.cache import GridCase, cached_cases
from DiffSegCore.data.cases import read_dataset
from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import aligned
from DiffSegCore.geometry import Box
from DiffSegCore.pictures_body import save_body_picture
from DiffSegCore.registry import load_model
from Testing.benchmarks.measure import Finding
from Testing.benchmarks.records import fingerprint, markdown as table, write

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_hn_openkbp"
WORDS = {"mirrored": "Right and left", "upside down": "upside down", "back to front": "turned over"}
TURNS = {"mirrored": (2,), "upside down": (0,), "back to front": (1,), "lying on the face": (1, 2), "feet first": (0, 2)}  # axes K, J, I flipped
HEAD = .6, 1.  # shares of a volume's planes, feet to head: what lies above the shoulders
SEEN_AS = {"lying on the face": ("back to front", "mirrored"), "feet first": ("upside down", "mirrored")}


@dataclass(frozen=True)
class Noticed:
    """Of `volumes`: doubted at all when turned over; doubted for every right reason."""

    volumes: int
    doubted: float
    named: float


def image_of(case: GridCase) -> torch.Tensor:
    """(1, K, J, I) in model values."""
    return torch.from_numpy(np.array(case.image, np.float32))[None]


def doubts_of(mapper: CoordinateModel, cases: Sequence[GridCase], flipped: Sequence[int], planes: tuple[float, float] = (0., 1.)) -> tuple[list[tuple[str, ...]], list[float]]:
    """For each case the sentences about it and the probability that it is mirrored, where some of its planes are there alone, and then
    flipped along some of K, J, I as a wrong header would."""
    maps = []
    for case in cases:
        low, high = (round(share * case.geometry.shape[0]) for share in planes)
        image, grid = image_of(case)[:, low:high].flip([axis + 1 for axis in flipped]), case.geometry.crop(Box((low, 0, 0), (high, *case.geometry.shape[1:])))
        maps.append(mapper.map(image, grid))
    return [orientation_doubts(found) for found in maps], [found.turned[0] for found in maps]


def noticed(doubts: Sequence[tuple[str, ...]], reasons: Sequence[str]) -> Noticed:
    said = [" ".join(sentences) for sentences in doubts]
    named = [all(WORDS[reason] in text for reason in reasons) for text in said]
    return Noticed(len(said), float(np.mean([bool(text) for text in said])), float(np.mean(named)))


def orientation(mapper: CoordinateModel, cases: Sequence[GridCase]) -> tuple[dict[str, Noticed], float]:
    """By way of turning, "as they are" first; and the chance that a mirrored volume has a higher probability than one that is not."""
    doubts, straight = doubts_of(mapper, cases, ())
    table = {"as they are": noticed(doubts, ("mirrored",))}
    mirrored: list[float] = []
    for name, flipped in TURNS.items():
        doubts, probability = doubts_of(mapper, cases, flipped)
        table[name] = noticed(doubts, SEEN_AS.get(name, (name,)))
        mirrored = probability if name == "mirrored" else mirrored
    for name, flipped, reasons in (("as they are", (), ()), ("mirrored", TURNS["mirrored"], ("mirrored",)), ("upside down", TURNS["upside down"], ("upside down",))):
        table[f"heads alone, {name}"] = noticed(doubts_of(mapper, cases, flipped, HEAD)[0], reasons)
    return table, float(np.mean(np.greater.outer(mirrored, straight) + .5 * np.equal.outer(mirrored, straight)))


def report(patients: Sequence[Placed], turned: Mapping[str, Noticed], told_apart: float) -> str:
    """Tables of volumes, organs and turns, and the findings."""
    correlation = {each.name: each.rank_correlation for each in patients}
    organs = spreads(patients)
    volumes = [("volume", "Spearman u_z, z", "error mm"), *((each.name, f"{correlation[each.name]:.4f}", f"{each.error_mm:.1f}") for each in patients)]
    rows = [("organ", "n", "spread mm", "before mm", "u R", "u A", "u S"),
            *((row.organ, str(row.n), f"{row.mm:.1f}", f"{row.before_mm:.1f}", *(f"{value:.4f}" for value in row.units)) for row in organs)]
    turns = [("volumes", "n", "doubted", "for the right reason"),
             *((name, str(row.volumes), f"{row.doubted:.0%}", "" if "as they are" in name else f"{row.named:.0%}") for name, row in turned.items())]
    findings = [Finding("least Spearman of u_z with z in a volume", min(correlation.values()), least=.98),
                *(Finding(f"spread of {row.organ}, mm", row.mm, most=25) for row in organs),
                Finding("upside-down volumes noticed", turned["upside down"].doubted, least=.95),
                Finding("mirrored volumes noticed", turned["mirrored"].named, least=.8),
                Finding("of volumes as they are, doubted", turned["as they are"].doubted, most=.05),
                Finding("of heads alone as they are, doubted", turned["heads alone, as they are"].doubted, most=.05),
                Finding("chance to rank a mirrored volume above a right one", told_apart)]
    return "\n\n".join([*(aligned(table) for table in (volumes, rows, turns)), "\n".join(map(str, findings))])


def read_cases(arguments: argparse.Namespace, mapper: CoordinateModel) -> tuple[list[GridCase], tuple[str, ...]]:
    """The split's cases on the model grid, and the names of their channels."""
    dataset = read_dataset(arguments.data, label_file=arguments.label_file)
    if not dataset.cases.get(arguments.split):
        raise BadInput(f"{arguments.data} has no {arguments.split} cases; there are {', '.join(dataset.cases)}")
    organs, cases = tuple(dict.fromkeys(dataset.labels.values())), dataset.cases[arguments.split][:arguments.cases]
    return cached_cases(cases, dataset.labels, organs, mapper.model.preprocessing, arguments.cache), organs


def main() -> int:
    arguments = _arguments()
    try:
        mapper = CoordinateModel(load_model(arguments.model), "cpu")
        cases, organs = read_cases(arguments, mapper)
        patients = [located(case.name, mapper.map(image_of(case), case.geometry), centroids(case, organs)) for case in cases]
        turned, told_apart = orientation(mapper, cases)
        print(report(patients, turned, told_apart))
        if arguments.picture:
            save_body_picture(arguments.picture, patients, title=f"Body coordinates, {arguments.data.name}, {arguments.split}")
        if arguments.out:
            write(arguments.out, {"model": fingerprint(mapper.model), "data": arguments.data.name, "split": arguments.split, **plain(patients, turned, told_apart)})
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def plain(patients: Sequence[Placed], turned: Mapping[str, Noticed], told_apart: float) -> dict[str, Any]:
    """What a card tells."""
    correlations, errors = ([getattr(each, what) for each in patients] for what in ("rank_correlation", "error_mm"))
    return {"cases": len(patients), "rank_correlation": {"least": min(correlations), "median": median(correlations)},
            "error_mm": {"median": median(errors), "most": max(errors)}, "spreads": [asdict(row) for row in spreads(patients)],
            "turned_over": {name: asdict(row) for name, row in turned.items()}, "mirrored_told_apart": told_apart}


def markdown(found: Mapping[str, Any]) -> str:
    """Tables of a card's entry."""
    correlation, error = found["rank_correlation"], found["error_mm"]
    organs = [("organ", "n", "spread mm", "before mm"), *((row["organ"], str(row["n"]), f"{row['mm']:.1f}", f"{row['before_mm']:.1f}") for row in found["spreads"])]
    turns = [("volumes", "n", "doubted", "for the right reason"),
             *((name, str(row["volumes"]), f"{row['doubted']:.0%}", "" if "as they are" in name else f"{row['named']:.0%}") for name, row in found["turned_over"].items())]
    return "\n\n".join([
        f"{found['cases']} cases of {found['data']} ({found['split']}). Along the body coordinates rise: Spearman's correlation with z is {correlation['least']:.4f} or more "
        f"(median {correlation['median']:.4f}). They lay a patient over the others to {error['median']:.1f} mm (median; at most {error['most']:.1f}).",
        "Where the centroid of an organ falls in different patients (root mean square distance from their mean), and where it falls when bodies are laid over each "
        "other by their centres of gravity:", table(organs),
        "Volumes whose axes are turned over, as by a wrong header:", table(turns),
        f"Of a mirrored and a right volume, the mirrored one looks more so in {found['mirrored_told_apart']:.0%} of all pairs."])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="NAME|PATH")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--cases", type=int, metavar="N", help="only the first N")
    parser.add_argument("--label-file", default="oar")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where volumes on the model grid are kept; the training's will do")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
