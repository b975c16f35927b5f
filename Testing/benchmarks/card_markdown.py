"""The cards of the bundled models as Markdown, every table of them as it was measured.

    python -m Testing.benchmarks.card_markdown > docs/Models.md
"""
from __future__ import annotations

import sys
from typing import Any, Mapping

from DiffSegCore.model import describe_model
from DiffSegCore.registry import name_of
from DiffSegCore.resources import resource

from . import click_curves, coordinates, evaluation_table, robustness_table
from .records import markdown as table

HEADING = """# The bundled models, measured

Made from the cards in the model files by `python -m Testing.benchmarks.card_markdown`; `make evaluate` measures everything anew. **Not for clinical use.**"""
LINES = {"for": "For", "not_for": "Not for", "data": "Learnt from", "data_licence": "Licences of the data", "licence": "Licence of the model"}


def card_text(name: str, described: Mapping[str, Any]) -> str:
    """One model, from what its file says of itself (`describe_model`)."""
    card = described["card"]
    about = [f"- **{title}**: {card[key]}" for key, title in LINES.items() if card.get(key)]
    about += [f"- **Training**: {_training(card)}", f"- **Reads**: {_reads(described)}", f"- **SHA-256 of its content**: `{described['sha256']}`"]
    parts = [f"## {name}", card.get("title", ""), "\n".join(about)]
    if "measured" in card:
        parts += ["### On cases it never saw", evaluation_table.markdown(card["measured"])]
    if "synthesised" in card:
        parts += ["### On images that were made up", evaluation_table.markdown(card["synthesised"])]
    if "baseline" in card:
        parts += [f"### {card['baseline']['network']}, trained on the same cases", evaluation_table.markdown(card["baseline"])]
    if "robustness" in card:
        parts += ["### On disturbed scans", robustness_table.markdown(card["robustness"])]
    if "click_curves" in card:
        parts += ["### From clicks", click_curves.markdown(card["click_curves"])]
    if "coordinates" in card:
        parts += ["### On patients it never saw", coordinates.markdown(card["coordinates"])]
    if scores := card.get("training", {}).get("validation_dice"):
        parts += ["### While training", _validation(scores)]
    return "\n\n".join(part for part in parts if part)


def _training(card: Mapping[str, Any]) -> str:
    training = card.get("training", {})
    told = [f"`make train-{card['recipe']}`" if card.get("recipe") else "", f"{training['steps']} steps of {training['batch']}" if "steps" in training else "",
            f"{training['hours']} hours" if "hours" in training else "", training.get("machine", training.get("device", "")),
            "{} cases to learn from, {} to check with".format(*training["cases"]) if "cases" in training else "", training.get("note", "")]
    return "; ".join(each for each in told if each) or "not told"


def _reads(described: Mapping[str, Any]) -> str:
    if clicks := described["card"].get("click"):
        return f"clicks on any structure, in crops with voxels of {', '.join(f'{mm:g}' for mm in clicks['spacings_mm'])} mm"
    spacing = " x ".join(f"{mm:g}" for mm in reversed(described["preprocessing"]["spacing_mm"]))
    found = ", ".join(described["organs"]) or "where in the body each voxel lies"
    return f"{described['preprocessing']['modality']} on a grid of {spacing} mm; finds {found}"


def _validation(scores: Any) -> str:
    """A mean, or several with names."""
    if isinstance(scores, Mapping):
        return table([("validation", "Dice"), *((str(name), f"{dice:.3f}") for name, dice in scores.items())])
    return f"Dice on the validation cases: {scores:.3f}."


def main() -> None:
    files = sorted(resource("Models").glob("*.safetensors"))
    print("\n\n".join((HEADING, *(card_text(name_of(path), describe_model(path)) for path in files))))


if __name__ == "__main__":
    sys.exit(main())
