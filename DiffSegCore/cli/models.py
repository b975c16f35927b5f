"""`diffseg models`: which models there are and what is known of them."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .command import add_command


def add(commands: Any) -> None:
    parser = add_command(commands, "models", "list the models that are here", run,
                         more="Bundled ones, and those in the folders that the variable DIFFSEG_MODELS names")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> None:
    from ..registry import model_files

    rows = [_row(name, path) for name, path in model_files().items()]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print("\n\n".join(map(_text, rows)) or "There is no model; train one with `diffseg train head`, or set DIFFSEG_MODELS to a folder of them.")


def _row(name: str, path: Path) -> dict[str, Any]:
    from ..model import describe_model

    place = {"name": name, "file": str(path), "megabytes": round(path.stat().st_size / 1e6, 2)}
    try:
        described = describe_model(path)
    except BadInput as error:  # one broken file hides no other
        return {**place, "error": str(error)}
    card = described["card"]
    return {**place, "title": card.get("title", ""), "modality": described["preprocessing"]["modality"], "organs": described["organs"],
            "spacing_mm": described["preprocessing"]["spacing_mm"], "sha256": described["sha256"], "source": card.get("data", ""),
            "licence": card.get("licence", ""), "dice": card.get("dice")}


def _text(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    spacing = " x ".join(f"{mm:g}" for mm in reversed(row["spacing_mm"]))
    return "\n".join((
        f"{row['name']}: {row['title']}",
        f"  {row['modality']}, {spacing} mm, {len(row['organs'])} organs, {row['megabytes']:.1f} MB, SHA-256 {row['sha256'][:16]}...",
        f"  organs   {', '.join(row['organs'])}",
        f"  source   {row['source'] or 'not stated'}",
        f"  licence  {row['licence'] or 'not stated'}",
        f"  Dice     {_dice(row['dice'])}",
    ))


def _dice(measured: Any) -> str:
    """A card's Dice: a mean, or {organ: mean}."""
    if not measured:
        return "not measured"
    if not isinstance(measured, dict):
        return f"{measured:.3f}"
    mean = math.fsum(measured.values()) / len(measured)
    return f"{mean:.3f}, the mean of {', '.join(f'{organ} {dice:.3f}' for organ, dice in measured.items())}"
