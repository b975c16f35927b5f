"""Write Resources/models.json anew from the files in Resources/Models; seconds come from the cards, or are kept.

    python -m Testing.benchmarks.catalogue
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.catalogue import Entry, catalogue, entry_of, written
from DiffSegCore.model import describe_model

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"


def timed(path: Path, before: Entry | None) -> dict[str, Any]:
    """Seconds of a case and the machine, by the model's card, else as the catalogue had them."""
    measured = describe_model(path)["card"].get("measured", {})
    if "seconds_median" in measured:
        return {"seconds": measured["seconds_median"], "measured_on": measured["measured_on"]}
    return {"seconds": before.seconds, "measured_on": before.measured_on} if before else {}


def main() -> None:
    place = RESOURCES / "models.json"
    entries = catalogue(place)
    for path in sorted((RESOURCES / "Models").glob("*.safetensors")):
        entries[path.stem] = entry_of(path, **timed(path, entries.get(path.stem)))
    place.write_text(written(list(entries.values())), encoding="utf-8")


if __name__ == "__main__":
    main()
