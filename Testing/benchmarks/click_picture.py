"""The README's picture of a correction: an automatic result, clicks where a user would click, what they change, and what stays unsure.

    python -m Testing.benchmarks.click_picture -o Resources/Screenshots/clicks.png
    python -m Testing.benchmarks.click_picture --image ct.nii.gz --labels truth.nii.gz --organ liver --from-nothing -o liver.png

Without an image it is the shipped sample, a phantom, whose automatic result is made worse on purpose.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from DiffSegCore.data.clicks import next_click
from DiffSegCore.data.priors import corrupt_to
from DiffSegCore.geometry import Box
from DiffSegCore.pictures_clicks import Panel, save_click_picture
from DiffSegCore.reading import read_labels, read_volume
from DiffSegCore.registry import load_click_model
from DiffSegCore.resources import resource
from DiffSegCore.session import RefinementSession
from DiffSegCore.volume import LabelMap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=resource("Sample", "sample_ct.nii.gz"))
    parser.add_argument("--labels", type=Path, default=resource("Sample", "sample_labels.nii.gz"), help="the truth that the clicks are taken from")
    parser.add_argument("--organ", default="parotid_gland_left")
    parser.add_argument("--model", help="the click model; the bundled one by default")
    parser.add_argument("--clicks", type=int, default=2)
    parser.add_argument("--dice", type=float, default=.7, help="of the mask to begin with")
    parser.add_argument("--from-nothing", action="store_true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()

    volume, labels = read_volume(asked.image), read_labels(asked.labels)
    truth = labels.ids == next(id for id, name in labels.names.items() if name == asked.organ)
    mask = np.zeros_like(truth) if asked.from_nothing else _worse(truth, asked.dice, volume.geometry.spacing)
    session = RefinementSession(load_click_model(asked.model))
    session.set_volume(volume, LabelMap(mask.astype(np.uint8), volume.geometry, {1: asked.organ}))
    panels = [] if asked.from_nothing else [Panel(f"before: Dice {_dice(mask, truth):.2f}", mask)]
    for number in range(1, asked.clicks + 1):
        if (click := next_click(mask, truth, volume.geometry.spacing)) is None:
            break
        at, before = tuple(volume.geometry.to_ras(click.place).tolist()), mask
        edit = session.add_point(at, 1, inside=click.inside)
        mask = session.labels.ids == 1
        panels.append(Panel(f"click {number}: +{edit.added_ml:.1f} ml, -{edit.removed_ml:.1f} ml", mask, before, at, click.inside))
    panels += [Panel(f"after: Dice {_dice(mask, truth):.2f}", mask), Panel("where samples are unsure", mask, doubt=session.uncertainty(1).array)]
    box = Box.of(truth)
    centre = volume.geometry.to_ras((np.array(box.start) + box.stop - 1) / 2)
    half_mm = .5 * max(n * mm for n, mm in zip(box.shape[1:], volume.geometry.spacing[1:])) + 25
    save_click_picture(asked.out, volume, panels, centre, half_mm, title=asked.organ.replace("_", " ").capitalize())


def _worse(truth: np.ndarray, dice: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return corrupt_to(dice, truth.astype(np.uint8), np.random.default_rng(1), spacing_mm) > 0


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum()))


if __name__ == "__main__":
    main()
