"""What prompts alone make likely: fits the logistic models of DiffSegCore/seeding.py to crops of training cases.

    python -m Testing.benchmarks.seeded_prior --data DIR ... [--label-maps FILE ...] [--leave-out PATTERN ...] --cache DIR [--crops N]

BEGUN: from one to five prompts on nothing. MISSING: a positive prompt beside a mask, corrupted or the answer of a simple rule (of --model, a
click model) to some prompts. EXTRA: a negative one within such a mask. Every fourth crop is
kept from the fit and scored: the Dice before, after, and the mean cross-entropy. `--edge 0` and `--stride 1` show what straight paths
and the full grid would give.
"""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from DiffSegCore import geodesic, seeding
from DiffSegCore.click_refining import refine_crop
from DiffSegCore.decision import dice_cut
from DiffSegCore.model import Model
from DiffSegCore.prompt_maps import believed, steering
from DiffSegCore.registry import load_model
from DiffSegCore.training.click import ClickSources, patches_to_learn
from DiffSegCore.training.click_patches import ClickPatches
from DiffSegCore.training.click_recipes import CLICK
from DiffSegCore.training.click_situations import Situation

Answer = Callable[[Situation], np.ndarray]
MOST_PROMPTS, NEAR = 5, 10.  # NEAR: voxels, of the simple mask on whose errors the next prompt is put
KEPT = 4  # every which crop is scored
THINNED = 7  # every which voxel is fitted
PENALTY = 1e-3


class Crop(NamedTuple):
    """terms (voxels, n) of the voxels that are judged; target: which of them a correction should add to the mask (or take from it); and how
    many voxels of the mask are right, are, and should be."""

    terms: np.ndarray
    target: np.ndarray
    right: int
    drawn: int
    wanted: int
    adds: bool = True

    def dice(self, changed: np.ndarray) -> float:
        """With these of the judged voxels added, or taken away."""
        hit, all = int((changed & self.target).sum()), int(changed.sum())
        right, drawn = (self.right + hit, self.drawn + all) if self.adds else (self.right - (all - hit), self.drawn - all)
        return 2 * right / (drawn + self.wanted)


def ruled(situation: Situation) -> np.ndarray:
    """What a simple rule makes of the prompts: bool (k, j, i)."""
    ways = geodesic.paths(situation.marks, situation.image[1])
    return (ways.inside < ways.outside.clamp(max=NEAR)).numpy()


def answered(model: Model) -> Answer:
    """What a click model makes of them."""
    def answer(situation: Situation) -> np.ndarray:
        mask = torch.from_numpy(situation.mask)
        given = steering(situation.marks, mask, situation.image[1], situation.spacing_mm, own=situation.own)
        return refine_crop(model, situation.image, believed(mask, given), given).mask.numpy()
    return answer


def seeded(situation: Situation, prompts: int, seed: int, answer: Answer = ruled) -> Situation:
    """So many prompts, from nothing, each on an error of the answer to those before; the mask is the last answer."""
    situation = replace(situation, mask=np.zeros_like(situation.mask), marks=())
    for number in range(prompts):
        situation = situation.prompted(np.random.default_rng((seed, number)))
        situation = replace(situation, mask=answer(situation).astype(np.float32)).obeying()
    return situation


def begun(patches: ClickPatches, crops: int) -> Iterator[Crop]:
    for number in range(crops):
        situation = seeded(patches.situation(number), 1 + number % MOST_PROMPTS, number)
        ways = geodesic.paths(situation.marks, situation.image[1])
        if ways.begun:
            yield Crop(_flat(seeding.begun_terms(ways)), situation.truth.ravel(), 0, 0, situation.truth.sum())


def corrected(patches: ClickPatches, crops: int, adds: bool, answer: Answer) -> Iterator[Crop]:
    """A newest prompt beside a mask, or a negative one in it; half of the masks are answers to one to four prompts."""
    for number in range(crops, (3 if adds else 5) * crops):  # about a third, and a sixth, of them has such a prompt
        situation = patches.situation(number)
        if number % 2:
            situation = seeded(situation, 1 + number // 2 % 4, number, answer).prompted(np.random.default_rng((number, MOST_PROMPTS)))
        mask = torch.from_numpy(situation.mask >= .5)
        newest = [mark for mark in situation.marks if mark.age == 0 and mark.inside == adds and mark.kind != "region"]
        if not newest or not mask.any():
            continue
        ways, last = (geodesic.paths(marks, situation.image[1]) for marks in (situation.marks, newest))
        terms = seeding.missing_terms(last, mask, ways) if adds else seeding.missing_terms(last.turned, ~mask, ways.turned)
        if terms is not None:
            judged = (mask != adds).flatten().numpy()
            right = int((mask.numpy() & situation.truth).sum())
            yield Crop(_flat(terms)[judged], situation.truth.ravel()[judged] == adds, right, int(mask.sum()), int(situation.truth.sum()), adds)


def fitted(crops: Sequence[Crop]) -> np.ndarray:
    """Weights of a logistic regression, by Newton's method."""
    x = np.concatenate([crop.terms[::THINNED] for crop in crops])
    y = np.concatenate([crop.target[::THINNED] for crop in crops])
    weights = np.zeros(x.shape[1])
    for _ in range(20):
        p = _sigmoid(x @ weights)
        slope = x.T @ (y - p) - PENALTY * weights
        weights += np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + PENALTY * np.eye(len(weights)), slope)
    return weights


def report(name: str, crops: Sequence[Crop]) -> str:
    """The kept crops with weights fitted to the others, and with those that the package has."""
    weights = fitted([crop for number, crop in enumerate(crops) if number % KEPT])
    return "\n".join((f"{name}: {len(crops)} crops, {len(crops[::KEPT])} of them scored",
                      scored("fitted now", weights, crops[::KEPT]), scored("in seeding.py", np.array(getattr(seeding, name)), crops[::KEPT])))


def scored(title: str, weights: np.ndarray, crops: Sequence[Crop]) -> str:
    found = []
    for crop in crops:
        p = _sigmoid(crop.terms @ weights)
        found.append([crop.dice(np.zeros_like(crop.target)), crop.dice(p >= .5), crop.dice(p >= dice_cut(torch.from_numpy(p))),
                      -np.log(np.where(crop.target, p, 1 - p).clip(1e-6)).mean()])
    before, half, promised, entropy = np.mean(found, axis=0)
    return (f"  {title}: Dice {before:.3f} before, {half:.3f} cut at one half, {promised:.3f} at the promised best; cross-entropy {entropy:.4f}\n"
            f"    ({', '.join(f'{weight:.3f}' for weight in weights)})")


def _flat(terms: Sequence[Tensor]) -> np.ndarray:
    return torch.stack([term.flatten() for term in terms], 1).double().numpy()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--label-maps", type=Path, nargs="+", default=[])
    parser.add_argument("--leave-out", nargs="+", default=[])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", help="a click model, whose answers are corrected instead of those of a simple rule")
    parser.add_argument("--crops", type=int, default=280)
    parser.add_argument("--edge", type=float, default=geodesic.EDGE)
    parser.add_argument("--stride", type=int, default=geodesic.STRIDE)
    args = parser.parse_args()
    geodesic.EDGE, geodesic.STRIDE = args.edge, args.stride
    patches = patches_to_learn(CLICK, ClickSources(args.data, args.label_maps, args.leave_out, cache=args.cache), args.cache, Fabric(accelerator="cpu", devices=1))
    answer = answered(load_model(args.model)) if args.model else ruled
    print(report("BEGUN", list(begun(patches, args.crops))), flush=True)
    for name, adds in (("MISSING", True), ("EXTRA", False)):
        print(report(name, list(corrected(patches, args.crops, adds, answer))), flush=True)


if __name__ == "__main__":
    main()
