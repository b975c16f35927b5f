"""How alike segmentations of one anatomy are, stored on other grids: the model's, and for comparison the perfect ones.

    python Testing/benchmarks/orientation.py [--model NAME] [--spacing 1.25]

The phantom's true labels on two different grids do not agree wholly either, for a voxel is in or out: that is the most that
any segmentor can reach there. All Dice are of labels brought to one common grid of 2 mm by their trilinear weights.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "core")]

from stored import GRIDS, grid, middle, sampled

from DiffSegCore.data.phantom import phantom
from DiffSegCore.evaluation import aligned
from DiffSegCore.geometry import Geometry
from DiffSegCore.registry import DEFAULT, load_model
from DiffSegCore.segmenter import Segmenter


def scanner(spacing_mm: float) -> Geometry:
    """280 x 250 x 250 mm round the phantom's neck, LPS axes."""
    matrix = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = 125, 105, -130
    return Geometry((round(280 / spacing_mm), round(250 / spacing_mm), round(250 / spacing_mm)), matrix)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.sum((one == other) & (one > 0)) / (np.sum(one > 0) + np.sum(other > 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--spacing", type=float, default=2.0, help="mm")
    arguments = parser.parse_args()
    segmenter, base = Segmenter(load_model(arguments.model)), scanner(arguments.spacing)
    rows, common, first = [("grid", "model", "perfect")], middle(base), None
    for name in GRIDS:
        volume, truth = phantom(0, geometry=grid(name, base), noise_hu=0)
        each = [sampled(labels, common) for labels in (segmenter.segment(volume).labels, truth)]
        first = first or each
        rows.append((name, *(f"{agreement(a, b):.3f}" for a, b in zip(first, each))))
    print(aligned(rows))


if __name__ == "__main__":
    main()
