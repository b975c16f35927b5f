"""Right from left: what body coordinates learn apart from the rest, of patients and of their mirror images."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..data.cache import GridCase
from ..data.patches import AIR
from ..networks.sides import Sides
from ..progress import Progress
from .body_recipes import BodyRecipe
from .body_views import Strengths, Views
from .loop import Task, Trained, train

CALM = Strengths(rotation=6., cropped=0.)  # the views that coordinates learn from are so wild that often the body's middle isn't where the network looks

LEAST = 1 / 3  # of the planes are left where some are cut off


class Sight(NamedTuple):
    """image float32 (B, 1, k, j, i); mirrored bool (B,): that it shows the patient in a mirror."""

    image: Tensor
    mirrored: Tensor


class Sights(Views):
    """Numbered views of patients or of their mirror images, half of them cut off above or below: a function of (seed, number) alone.

    Whoever always saw shoulders is as sure of a head alone, and as often wrong as right.
    """

    def batch(self, first: int, count: int) -> Sight:
        """Views first .. first + count - 1, stacked."""
        return Sight(*map(torch.stack, zip(*map(self._sight, range(first, first + count)))))

    def _sight(self, number: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self.seed, number))
        view = self._view(self.cases[random.integers(len(self.cases))], bool(random.random() < .5), random)
        return self._cut_off(view.image, random), view.mirrored

    def _cut_off(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """Half of the time air instead of some planes at either end."""
        share = random.uniform(LEAST, 1) if random.random() < .5 else 1.
        planes = np.arange(image.shape[1]) / image.shape[1] - random.uniform(0, 1 - share)
        return image.where(torch.from_numpy((planes >= 0) & (planes <= share))[:, None, None], AIR)


class SidesTraining(nn.Module):
    """The network, and its loss on a batch of sights."""

    def __init__(self, sides: Sides) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, sights: Sight) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.sides(sights.image - AIR).float(), sights.mirrored.float())


def train_sides(recipe: BodyRecipe, learn: Sequence[GridCase], check: Sequence[GridCase], out: Path, fabric: Fabric, resume: bool,
                progress: Progress) -> Trained:
    """A trained `SidesTraining`, by the recipe's `sides`, on the patients of the data set alone: volumes of other folders may show legs."""
    out.mkdir(parents=True, exist_ok=True)
    sights = Sights(learn, recipe.window, threshold=recipe.preprocessing.body_threshold, strengths=CALM, pairs=1, seed=recipe.seed)
    torch.manual_seed(recipe.seed)
    task = Task(sights.batch, lambda network, batch: network(batch), lambda candidate: float((-logits_of(candidate.sides, check)).sigmoid().mean()))
    return train(fabric, SidesTraining(Sides()), task, recipe.sides, out, resume=resume and (out / "last.ckpt").is_file(), progress=progress,
                 logged="sides: ")


@torch.no_grad()
def logits_of(sides: Sides, cases: Sequence[GridCase]) -> Tensor:
    """(cases,) that they are mirrored, as they lie."""
    device, learning = next(sides.parameters()).device, sides.training
    images = (torch.from_numpy(np.array(case.image, np.float32))[None, None].to(device) for case in cases)
    found = torch.cat([sides.eval()(image - AIR) for image in images]).float().cpu()
    sides.train(learning)
    return found
