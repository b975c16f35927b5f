"""Train body coordinates: offsets in millimetres teach them, and patients laid over each other by their organs."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..alignment import Placed, mean_error_mm, placed, spreads
from ..data.cache import GridCase, cached_cases
from ..data.cases import Dataset, read_dataset
from ..data.unlabelled import image_cases
from ..errors import BadInput
from ..model import Model, save_model
from ..networks import BodyCoordinates, build
from ..progress import Progress, part, silent
from .body_losses import Weights, body_loss
from .body_places import common_places
from .body_recipes import BodyRecipe
from .body_sides import logits_of, train_sides
from .body_views import View, Views, organ_centres
from .head import mirror_pairs
from .loop import Task, Trained, train

MEASURED = 20  # training patients, more or less, that say where u begins and ends
OUTER = 1.  # per cent of the training patients' voxels that may lie below 0, and above 1


@dataclass(frozen=True)
class Sources:
    """Where volumes come from: a data set, and folders of volumes of which no label is read; cache: None keeps it beside the model."""

    data: Path
    unlabelled: Sequence[Path] = ()
    leave_out: Sequence[str] = ()
    skip_corrupt: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class Cases:
    """learn and check belong to the data set and have the channels `organs`; others have no label."""

    learn: list[GridCase]
    check: list[GridCase]
    others: list[GridCase]
    organs: tuple[str, ...]


class BodyTraining(nn.Module):
    """The network with what only its training needs; a batch of views in, its loss out."""

    def __init__(self, body: BodyCoordinates, weights: Weights) -> None:
        super().__init__()
        self.body, self.weights = body, weights

    def forward(self, views: View) -> Tensor:
        image = views.image.flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        u, log_scale = self.body(image)
        turned = self.body.turned(_flipped(image, views.flips.flatten(0, 1)))
        u, log_scale, turned = (part.float().unflatten(0, (-1, 2)) for part in (u, log_scale, turned))
        with torch.autocast(image.device.type, enabled=False):  # bf16 would round millimetres to centimetres
            return body_loss(u, log_scale, turned, self.body.slope, views, self.weights)


def train_body(recipe: BodyRecipe, sources: Sources, out: Path, fabric: Fabric, *, resume: bool = False, progress: Progress = silent) -> Path:
    """Train `recipe`; writes out/<recipe>.safetensors beside checkpoints and logs, and returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    begun = (out / "last.ckpt").is_file()  # sides are learnt first: a training may have stopped before this one had a checkpoint
    if resume and not begun and not (out / "sides" / "last.ckpt").is_file():
        raise BadInput(f"nothing to resume: {out / 'last.ckpt'} does not exist; leave --resume out to start anew")
    with fabric.rank_zero_first():  # the others find the cache filled
        cases = read_cases(recipe, sources, sources.cache or out / "cache", part(progress, 0, .05))
    sides = train_sides(recipe, cases.learn, cases.check, out / "sides", fabric, resume, part(progress, .05, .2))
    views = _views(recipe, cases)
    architecture = {"kind": "coordinates", "widths": list(recipe.widths)}
    torch.manual_seed(recipe.seed)
    network = BodyTraining(build(architecture), recipe.weights).to(memory_format=torch.channels_last_3d)

    def score(candidate: BodyTraining) -> float:
        return 1 / (1 + mean_error_mm(_placed(candidate.body, cases.check, cases.organs, recipe)) / 10)  # a half for 10 mm

    task = Task(views.batch, lambda network, batch: network(batch), score)
    trained = train(fabric, network, task, recipe.budget, out, resume=resume and begun, progress=part(progress, .2, 1))
    path = out / f"{recipe.name}.safetensors"
    if fabric.is_global_zero:
        body = trained.network.body.eval()
        body.sides.load_state_dict(sides.network.sides.state_dict())
        scale_to_unit(body, _placed(body, cases.learn[::max(1, len(cases.learn) // MEASURED)], cases.organs, recipe))
        card = _card(recipe, cases, trained, sides.seconds, _placed(body, cases.check, cases.organs, recipe), str(fabric.device))
        save_model(Model(body.cpu(), architecture, recipe.preprocessing, (), recipe.window, card), path)
    return path


def read_cases(recipe: BodyRecipe, sources: Sources, cache: Path, progress: Progress) -> Cases:
    """Cases from the cache; every tenth training case validates where the data set has no such split. BadInput where one is left without cases."""
    dataset = read_dataset(sources.data, label_file=recipe.label_file)
    organs = recipe.organs or tuple(dict.fromkeys(dataset.labels.values()))
    which = {"leave_out": tuple(sources.leave_out), "skip_corrupt": sources.skip_corrupt}
    split = {name: _split(dataset, name, sources, organs, recipe, cache, part(progress, *span), which)
             for name, span in (("train", (0, .7)), ("validation", (.7, .8)))}
    learn, check = split["train"], split["validation"]
    if not check:
        learn, check = [case for n, case in enumerate(learn) if n % 10], learn[::10]
    if not learn or not check:
        raise BadInput(f"{sources.data} has {len(learn)} cases to train on and {len(check)} to validate with; both are needed")
    others = image_cases(sources.unlabelled, recipe.preprocessing, cache, part(progress, .8, 1), **which) if sources.unlabelled else []
    return Cases(learn, check, others, organs)


def _split(dataset: Dataset, name: str, sources: Sources, organs: tuple[str, ...], recipe: BodyRecipe, cache: Path, progress: Progress,
           which: dict[str, Any]) -> list[GridCase]:
    """One split of the data set, with its labels if it has any."""
    cases = dataset.cases.get(name, ())
    if cases and cases[0].label is None:
        return image_cases([sources.data], recipe.preprocessing, cache, progress, split=name, **which)
    return cached_cases(cases, dataset.labels, organs, recipe.preprocessing, cache, progress)


def _views(recipe: BodyRecipe, cases: Cases) -> Views:
    """Views of cases that are laid over each other by those of the recipe's organs that training cases have."""
    held = set().union(*(case.places for case in cases.learn))
    anchors = [c for c, organ in enumerate(cases.organs, 1) if c in held and organ in (recipe.anchors or cases.organs)]
    partner = list(range(len(anchors)))
    for right, left in mirror_pairs(cases.organs):
        if right in anchors and left in anchors:
            partner[anchors.index(right)], partner[anchors.index(left)] = anchors.index(left), anchors.index(right)
    centres = {case.name: case.geometry.to_ras(organ_centres(case, anchors)) for case in cases.learn}
    return Views(cases.learn, recipe.window, places=common_places(centres, partner), others=cases.others, share=recipe.unlabelled_share,
                 threshold=recipe.preprocessing.body_threshold, pairs=recipe.pairs, strengths=recipe.strengths, seed=recipe.seed)


def _placed(body: BodyCoordinates, cases: Sequence[GridCase], organs: Sequence[str], recipe: BodyRecipe) -> list[Placed]:
    training = body.training
    patients = [placed(case, organs, body.eval(), recipe.preprocessing, recipe.window) for case in cases]
    body.train(training)
    return patients


def scale_to_unit(body: BodyCoordinates, patients: Sequence[Placed]) -> None:
    """Set `low` and `gain` so that the patients' u, each with equal weight, runs from 0 to 1 but for the outermost per cent at either end."""
    levels = np.concatenate([np.percentile(each.u, np.linspace(0, 100, 201), axis=0) for each in patients])
    low, high = np.percentile(levels, (OUTER, 100 - OUTER), axis=0)
    low, width = (torch.tensor(values, dtype=body.low.dtype, device=body.low.device) for values in (low, np.maximum(high - low, 1e-6)))
    body.low.copy_(body.low + low / body.gain)
    body.gain.copy_(body.gain / width)


def _flipped(image: Tensor, flips: Tensor) -> Tensor:
    """Each of (B, 1, k, j, i) turned over along its K, J, I as flips (B, 3) says."""
    return torch.stack([one.flip([axis + 1 for axis in range(3) if flip[axis]]) for one, flip in zip(image, flips.tolist())])


def _card(recipe: BodyRecipe, cases: Cases, trained: Trained, before: float, checked: Sequence[Placed], device: str) -> dict[str, Any]:
    organs = {row.organ: {"n": row.n, "mm": round(row.mm, 1), "before_mm": round(row.before_mm, 1)} for row in spreads(checked)}
    return {"name": recipe.name, "title": recipe.title, **recipe.card,
            "validation": {"rank_correlation": round(min(each.rank_correlation for each in checked), 4),
                           "error_mm": round(float(np.mean([each.error_mm for each in checked])), 1), "centroid_spread": organs,
                           "sides_told": round(float((logits_of(trained.network.body.sides, cases.check) < 0).float().mean()), 3)},
            "training": {"steps": recipe.budget.steps, "batch": recipe.budget.batch, "hours": round((before + trained.seconds) / 3600, 2), "device": device,
                         "cases": [len(cases.learn), len(cases.check)], "unlabelled": len(cases.others), "score": round(trained.score, 4)}}
