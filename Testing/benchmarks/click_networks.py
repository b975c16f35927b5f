"""Click models trained alike but for one thing: without diffusion, or without ever seeing some structures. The last sections of docs/Clicks.md.

    diffseg train click --steps 1000 --last --precision bf16 SOURCES -o runs/diffusion           SOURCES: as `make train-click` gives them
    diffseg train click --steps 1000 --last --precision bf16 SOURCES -o runs/control --control
    diffseg train click --steps 1000 --last --precision bf16 SOURCES -o runs/unseen --unseen STRUCTURES     and ct_lesion_sts not among the data
    python -m Testing.benchmarks.click_baselines -o evaluation --methods --network diffusion=FILE control=FILE unseen=FILE
    python -m Testing.benchmarks.click_networks -o evaluation --network diffusion=FILE control=FILE unseen=FILE
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.model import Model

from .bundled import arguments, ending
from .click_baselines import EMPTY, network
from .click_curves import CLICKS, CURVES, trials_of
from .records import fingerprint, markdown as table, records_in, write

NETWORKS = Path(__file__).resolve().parents[2] / "docs" / "clicking" / "networks.json"
TUMOUR = "tumour"  # of the sarcomas, whose whole data set `unseen` lacks
SHOWN = (1, 3, 5, 10)
AT = 5  # clicks, at which two networks are held against each other

Curves = dict[tuple[str, str], np.ndarray]  # (set and case, structure) -> Dice after 0, 1, ... clicks


def packed(networks: Sequence[tuple[str, Model]], out: Path, clicks: int) -> dict[str, Any]:
    """{"training": {network: its card's}, "dice": {network: {"set/case": {structure: Dice by click}}}}; BadInput where a network lacks a set, or a case that others have."""
    dice: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, model in networks:
        dice[name] = {}
        for place in EMPTY:
            records = records_in(out / "rivals" / name / "trials" / f"{clicks}-clicks" / place, fingerprint(model))
            if not records:
                raise BadInput(f"there is no record of {name} on {place} in {out}; run click_baselines with --network {name}=FILE first")
            for case, record in records.items():
                dice[name][f"{place}/{case}"] = {trial.organ: [round(each.dice, 4) for each in trial.rounds] for trial in trials_of({case: record})}
    every = set().union(*dice.values())
    for name, cases in dice.items():
        if lacking := sorted(every - cases.keys()):
            raise BadInput(f"{name} has no record of {', '.join(lacking)}, which another network has; run click_baselines with --network {name}=FILE on them")
    return {"training": {name: model.card["training"] for name, model in networks}, "dice": dice}


def curves_of(found: Mapping[str, Any], name: str) -> Curves:
    """Of one network."""
    return {(case, structure): np.array(dice) for case, ones in found["dice"][name].items() for structure, dice in ones.items()}


def sections(found: Mapping[str, Any]) -> str:
    """Markdown: what diffusion adds, and what unseen structures lose."""
    training, unseen = found["training"], left_out(found["training"]["unseen"])
    steps = training["diffusion"]["steps"]
    whole, control, blind = (curves_of(found, name) for name in ("diffusion", "control", "unseen"))
    sets = {CURVES[name].title: (lambda key, name=name: key[0].startswith(f"{name}/")) for name in EMPTY} | {"all": lambda key: True}
    groups = {f"{structure}, {place}": (lambda key, place=place, structure=structure: key[0].startswith(f"{place}/") and key[1] == structure)
              for place in EMPTY for structure in unseen}
    groups |= {"all that one never saw": lambda key: key[1] in unseen, "all that both saw": lambda key: key[1] not in unseen}
    return f"""## With and without diffusion

The same network, data, order of crops and {steps} steps, trained from nothing to denoise masks and, the control, to say the mask at once (`diffseg train click --control`).
One training each. Better: objects of which the first has the higher Dice after {AT} clicks. In CT diffusion is ahead, in T2 MR the control, which draws more at the first click. The bundled model learnt for more than ten times as many
steps, which shows in every set after {AT} clicks (table above), most in the head and neck, least in the sarcomas.
Measured when a look was one view of the crop and four steps, nothing was followed, and a training had one round of its own answers and one fall of the learning rate.

{table(_rows(whole, control, sets, ("diffusion", "control")))}

## Structures that it never saw

A third training like the first saw no sarcoma, and nothing was drawn for it of {', '.join(name.replace('_', ' ') for name in unseen if name != TUMOUR)} (`diffseg train click --unseen`).
It reaches them nearly as well as the first does, and is about as far behind on what both saw: it learnt from fewer cases. After so short a training neither knows structures well. How the
bundled model, which learnt for far longer, does on what it never saw was not measured so.

{table(_rows(whole, blind, groups, ("seen", "unseen")))}"""


def left_out(training: Mapping[str, Any]) -> list[str]:
    """Structures, by the names in the test sets; labels without a name are those of data sets that no test set has."""
    return [TUMOUR, *(name for name in training["unseen"] if not name.startswith("label_"))]


def _rows(ones: Curves, others: Curves, groups: Mapping[str, Callable[[tuple[str, str]], bool]], names: tuple[str, str]) -> list[tuple[str, ...]]:
    head = ("set", "objects", *(f"{name} @{n}" for n in SHOWN for name in names), f"difference @{AT}", "better")
    rows = [head]
    for title, belongs in groups.items():
        keys = [key for key in ones if belongs(key)]
        if keys:
            pair = [np.stack([curves[key] for key in keys]) for curves in (ones, others)]
            gain = pair[0][:, AT] - pair[1][:, AT]
            rows.append((title, str(len(keys)), *(f"{each[:, n].mean():.3f}" for n in SHOWN for each in pair), f"{gain.mean():+.3f}", str(int((gain > 0).sum()))))
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--clicks", type=int, default=CLICKS, metavar="N", help=f"an object (default: {CLICKS})")
    parser.add_argument("--network", nargs="+", type=network, required=True, metavar="NAME=FILE", help="diffusion, control and unseen, and their files")
    parser.add_argument("--pack", type=Path, default=NETWORKS, metavar="FILE.json", help="where the numbers go (default: where docs/Clicks.md is made from)")
    args = parser.parse_args()
    write(args.pack, packed(args.network, args.out, args.clicks))


if __name__ == "__main__":
    sys.exit(ending(main))
