"""`diffseg models`: which models there are and what is known of them."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from .command import add_command


def add(commands: Any) -> None:
    parser = add_command(commands, "models", "list the models that are here", run,
                         more="Bundled ones, and those in the folders that the variable DIFFSEG_MODELS names")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> None:
    from ..registry import model_rows

    rows = model_rows()
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print("\n\n".join(map(_text, rows)) or "There is no model; train one with `diffseg train head`, or set DIFFSEG_MODELS to a folder of them.")


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
