"""Write what was measured into a model's card, and the model into a file of half-precision weights that can be shipped.

    python Testing/benchmarks/openkbp.py --model runs/head/head-neck-ct.safetensors --out ours.json
    python Testing/benchmarks/openkbp.py --baseline runs/dynunet/dynunet.pt --out dynunet.json
    python Testing/benchmarks/card.py runs/head/head-neck-ct.safetensors --results ours.json --baseline dynunet.json \
        -o Resources/Models/head-neck-ct.safetensors
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.model import load_model_file, save_model

FIGURES = ("organ", "n", "mean", "sd", "median", "worst")


def measured(results: Path) -> dict[str, Any]:
    """The summaries of openkbp.py's JSON, without the cases."""
    found = json.loads(results.read_text(encoding="utf-8"))
    summaries = {metric: [{key: _rounded(row[key]) for key in FIGURES} for row in rows] for metric, rows in found["organs"].items()}
    return {"data": found["data"], "split": found["split"], "cases": found["cases"],
            "mean_over_organs": {metric: _rounded(value) for metric, value in found["mean_over_organs"].items()}, **summaries}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--note", help="how the training differed from its recipe")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, results = load_model_file(arguments.model), measured(arguments.results)
    card = {**model.card, "measured": results, "dice": {row["organ"]: row["mean"] for row in results["dice"]}}
    if arguments.baseline:
        card["baseline"] = {"network": "MONAI DynUNet", **measured(arguments.baseline)}
    if arguments.note:
        card["training"] = {**card["training"], "note": arguments.note}
    print(save_model(replace(model, card=card), arguments.out, half=True))


if __name__ == "__main__":
    main()
