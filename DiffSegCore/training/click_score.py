"""How good a click model is on crops of held-out objects, from nothing, after one, three and five clicks of the simulator."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from ..data.clicks import next_click
from ..marks import Mark
from .click_network import ClickNetwork
from .click_patches import ClickPatches
from .click_situations import Situation

CLICKS, STEPS = (1, 3, 5), 2
BATCH = 4


@torch.no_grad()
def clicked_dice(network: ClickNetwork, watched: ClickPatches, count: int, fabric: Fabric) -> dict[int, float]:
    """Mean Dice over situations 0 .. count - 1 by number of clicks (1, 3, 5)."""
    network.eval()
    situations = [watched.situation(number) for number in range(count)]
    scores = {}
    for click in range(1, max(CLICKS) + 1):
        situations = [_clicked(each) for each in situations]
        for first in range(0, count, BATCH):
            part = situations[first:first + BATCH]
            with fabric.autocast():
                found = _answers(network, part, range(first, first + len(part)), fabric)
            situations[first:first + BATCH] = [each.answered(chances) for each, chances in zip(part, found)]
        if click in CLICKS:
            scores[click] = float(np.mean([_dice(each) for each in situations]))
    network.train()
    return scores


def _answers(network: ClickNetwork, situations: list[Situation], numbers: range, fabric: Fabric) -> np.ndarray:
    rendered = [each.rendered() for each in situations]
    stacks: list[Tensor] = [torch.stack(parts) for parts in ([each.image for each in situations], [r.prior for r in rendered], [r.prompts for r in rendered])]
    return network.answers(*map(fabric.to_device, stacks), list(numbers), steps=STEPS)[:, 0].float().cpu().numpy()


def _clicked(situation: Situation) -> Situation:
    click = next_click(situation.mask >= .5, situation.truth, situation.spacing_mm)
    if click is None:
        return situation
    older = (replace(each, age=each.age + 1) for each in situation.marks)
    return replace(situation, marks=(*older, Mark("point", click.inside, np.array([click.place], float))))


def _dice(situation: Situation) -> float:
    mask = situation.mask >= .5
    return 2 * float((mask & situation.truth).sum()) / float(mask.sum() + situation.truth.sum())
