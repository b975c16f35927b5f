"""Out-of-fold priors: what organ networks say of cases that they did not learn from, for all training cases."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from lightning.fabric import Fabric

from ..data.cache import GridCase
from ..errors import BadInput
from ..files import atomic
from ..progress import Progress, part, silent
from .given_priors import kept, kept_file, said_by
from .head import calibrate, learn_head
from .made import made_cases
from .recipes import HeadRecipe

SCORED = 3  # validation cases on which a fold's network is scored: enough to keep the best of few checkpoints
LEARNING = .9  # of a fold's progress


def fold_priors(recipe: HeadRecipe, organs: Sequence[str], learn: Sequence[GridCase], check: Sequence[GridCase], folds: int, folder: Path,
                fabric: Fabric, progress: Progress = silent) -> dict[str, np.ndarray]:
    """Case name -> chances float16 (labels, k, j, i) of the cases `learn`, by networks trained with the case's fold left out, and of
    `check`, which none learnt from, by the first fold's. Trains `recipe` `folds` times; goes on where an earlier call stopped.
    """
    if not 2 <= folds <= len(learn):
        raise BadInput(f"{len(learn)} training cases can be split into 2 to {len(learn)} folds, not {folds}")
    folder.mkdir(parents=True, exist_ok=True)
    _same_plan({"head": recipe.name, "steps": recipe.budget.steps, "batch": recipe.budget.batch, "folds": folds, "organs": list(organs),
                "cases": [case.name for case in learn]}, folder / "plan.json", fabric)
    priors: dict[str, np.ndarray] = {}
    for fold in range(folds):
        wanted = [*learn[fold::folds], *(check if fold == 0 else ())]
        others = [case for number, case in enumerate(learn) if number % folds != fold]
        stage = part(progress, fold / folds, (fold + 1) / folds)
        priors |= _fold(recipe, organs, others, check[:SCORED], wanted, folder / f"fold-{fold}", fabric, stage)
    return priors


def _fold(recipe: HeadRecipe, organs: Sequence[str], learn: Sequence[GridCase], check: Sequence[GridCase], wanted: Sequence[GridCase],
          folder: Path, fabric: Fabric, progress: Progress) -> dict[str, np.ndarray]:
    folder.mkdir(exist_ok=True)
    make = None
    missing = not all(kept_file(case, folder, "fold").is_file() for case in wanted)
    fabric.barrier()  # none begins to predict before all have looked what is missing
    if missing:
        with fabric.rank_zero_first():  # the others find them kept
            made, _ = made_cases(recipe, organs, folder.parent / "cache", progress=part(progress, 0, .05))
        trained = learn_head(recipe, organs, learn, check, folder, fabric, made=made, resume=(folder / "last.ckpt").is_file(),
                             progress=part(progress, .05, LEARNING))
        calibrate(trained.network, recipe, check, fabric.device)
        make = said_by(trained.network, recipe.window, fabric.device)
    with fabric.rank_zero_first():
        return kept(wanted, folder, lambda case: "fold", make, part(progress, LEARNING, 1))


def _same_plan(plan: dict[str, Any], file: Path, fabric: Fabric) -> None:
    """Write the plan, or refuse to mix this one's priors with another's."""
    if file.is_file() and (before := json.loads(file.read_text())) != plan:
        changed = ", ".join(name for name in plan if plan[name] != before.get(name))
        raise BadInput(f"{file.parent} holds priors of other folds ({changed} differ); choose another output folder, or remove it")
    fabric.barrier()
    if fabric.is_global_zero:
        with atomic(file) as temporary:
            temporary.write_text(json.dumps(plan))
