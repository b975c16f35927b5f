"""Write Resources/models.json anew from the files in Resources/Models; what was timed and where a model can be had are kept.

    python Testing/benchmarks/catalogue.py
"""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.catalogue import catalogue, entry_of, written

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"


def main() -> None:
    place = RESOURCES / "models.json"
    entries = catalogue(place)
    for path in sorted((RESOURCES / "Models").glob("*.safetensors")):
        before = entries.get(path.stem)
        entries[path.stem] = entry_of(path, seconds=before.seconds if before else None, measured_on=before.measured_on if before else "")
    place.write_text(written(list(entries.values())), encoding="utf-8")


if __name__ == "__main__":
    main()
