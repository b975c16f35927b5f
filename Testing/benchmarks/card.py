"""Write what was measured into a model's card, and the model into a file of half-precision or eight-bit weights that can be shipped.

    python -m Testing.benchmarks.card runs/head-neck-ct/head-neck-ct.safetensors --trained-here -o Resources/Models/head-neck-ct.safetensors
    python -m Testing.benchmarks.evaluate_models -o evaluation      # and robustness, click_curves: see `make evaluate`
    python -m Testing.benchmarks.card Resources/Models/head-neck-ct.safetensors --records evaluation/head-neck-ct -o Resources/Models/head-neck-ct.safetensors

Records are of the weights as they ship, so that order is the only one. What the model's recipe says of its purpose and licences is added where the
card does not tell it. --results and --baseline take openkbp.py's JSON of a model and of a plain network trained on the same cases.
"""
from __future__ import annotations

import argparse
import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.errors import BadInput
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.packing import packed, unpacked
from Testing.benchmarks.bundled import ending
from Testing.benchmarks.measure import machine
from Testing.benchmarks.records import fingerprint

FIGURES = ("organ", "n", "mean", "sd", "median", "worst")
ENTRIES = {"evaluation.json": "measured", "synthesised.json": "synthesised", "robustness.json": "robustness", "clicks.json": "click_curves", "coordinates.json": "coordinates"}


def measured(results: Path) -> dict[str, Any]:
    """The summaries of openkbp.py's JSON, without the cases."""
    found = json.loads(results.read_text(encoding="utf-8"))
    summaries = {metric: [{key: _rounded(row[key]) for key in FIGURES} for row in rows] for metric, rows in found["organs"].items()}
    return {"data": found["data"], "split": found["split"], "cases": found["cases"],
            "mean_over_organs": {metric: _rounded(value) for metric, value in found["mean_over_organs"].items()}, **summaries}


def recorded(folder: Path, model: Model, keep_sets: bool = False) -> dict[str, Any]:
    """Card entries from what evaluate_models, synthesised, robustness, click_curves and coordinates left in a folder. BadInput for those of another model.

    keep_sets: click curves of sets that were not measured anew stay as the card has them.
    """
    entries = {}
    for file, entry in ENTRIES.items():
        if (folder / file).is_file():
            found = json.loads((folder / file).read_text(encoding="utf-8"))
            if found.pop("model") != fingerprint(model):
                raise BadInput(f"{folder / file} was measured with other weights or settings than {model.card.get('name')!r} ships with; run `make evaluate` again.")
            if keep_sets and "sets" in found:
                found["sets"] = {**model.card.get(entry, {}).get("sets", {}), **found["sets"]}
            entries[entry] = found
    return entries


def from_recipe(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe of the model's name tells and the card does not."""
    from DiffSegCore.training import body_recipes, click_recipes, recipes

    known = {**body_recipes.RECIPES, **click_recipes.RECIPES, **recipes.RECIPES}
    recipe = known.get(card.get("name", ""))
    return {} if recipe is None else {key: value for key, value in {"recipe": recipe.name, **recipe.card}.items() if key not in card}


def as_shipped(model: Model, bits: int) -> Model:
    """With the weights that its file will give back."""
    network = copy.deepcopy(model.network)
    network.load_state_dict(unpacked(packed(network.state_dict(), bits)))
    return replace(model, network=network)


def bits_of(path: Path) -> int:
    """In how many bits a model file that was shipped, or will be, holds its weights."""
    with safe_open(path, framework="pt") as file:
        return 8 if any(file.get_slice(name).get_dtype() == "I8" for name in file.keys()) else 16


def written_card(model: Model, args: argparse.Namespace) -> dict[str, Any]:
    card = {**model.card, **from_recipe(model.card)}
    if args.results:
        card["measured"] = measured(args.results)
    if args.records:
        card.update(recorded(args.records, model, args.keep_sets))
    if "dice" in card.get("measured", {}):
        card["dice"] = {row["organ"]: row["mean"] for row in card["measured"]["dice"]}
    if args.baseline:
        card["baseline"] = {"network": "MONAI DynUNet", **measured(args.baseline)}
    told = {"note": args.note, "machine": machine() if args.trained_here else None}
    card["training"] = {**card.get("training", {}), **{key: value for key, value in told.items() if value}}
    return card


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--records", type=Path, metavar="DIR", help="a model's folder of evaluate_models, robustness or click_curves")
    parser.add_argument("--keep-sets", action="store_true", help="click curves of sets that were not measured (click_curves --only) stay as they are; "
                        "only where the weights are those of the time")
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("--baseline", type=Path, metavar="FILE")
    parser.add_argument("--trained-here", action="store_true", help="name this machine as the one of the training")
    parser.add_argument("--note", help="how the training differed from its recipe")
    parser.add_argument("--bits", type=int, choices=(16, 8), help="in which weights are stored (default: as the file has them, at most 16)")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    model = load_model_file(args.model)
    bits = args.bits or bits_of(args.model)
    model = as_shipped(model, bits)
    print(save_model(replace(model, card=written_card(model, args)), args.out, bits=bits))


if __name__ == "__main__":
    sys.exit(ending(main))
