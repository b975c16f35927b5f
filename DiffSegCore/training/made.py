"""Cases that never were, for organ networks: phantoms, abdomens imagined from label maps, and labelled MR shown as CT."""
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from ..data.abdomen import Body, abdomen, recoloured, rephased
from ..data.cache import GridCase, grid_case, kept_case
from ..data.cases import Case, kept_in, read_dataset
from ..data.phantom import phantom
from ..data.sources import read_image, read_truth
from ..errors import BadInput
from ..progress import Progress, silent
from ..volume import LabelMap
from .recipes import HeadRecipe

GENERATOR = 1  # raised whenever phantoms or abdomens come out differently, so that kept ones are made anew


def made_cases(recipe: HeadRecipe, organs: Sequence[str], cache: Path, label_maps: Sequence[Path] = (), ids: Mapping[int, str] = {},
               progress: Progress = silent) -> tuple[list[GridCase], list[GridCase]]:
    """Cases to learn from and to validate with, none of both where the recipe makes none. cache: a folder that keeps them for the next time.

    label_maps: files of whole bodies whose label values `ids` names. BadInput where the recipe needs them and there are none.
    """
    if recipe.made is None:
        return [], []
    if recipe.made.source == "phantoms":
        return _phantoms(recipe, organs, cache, progress), []
    if not label_maps:
        raise BadInput(f"the recipe {recipe.name!r} imagines its images from label maps of whole abdomens; name them with --label-maps")
    abdomens = _abdomens(recipe, organs, label_maps, ids, cache, progress)
    return abdomens[recipe.made.check:], abdomens[:recipe.made.check]


def _phantoms(recipe: HeadRecipe, organs: Sequence[str], cache: Path, progress: Progress) -> list[GridCase]:
    """Phantoms scanned on grids from 1.5 to 4 mm, so that the network meets sharp and coarse ones. Kept on disk, as abdomens are."""
    def made(seed: int) -> GridCase:
        spacing = np.random.default_rng(seed).uniform((2., 2., 2.), (3., 4., 4.))
        volume, labels = phantom(seed, spacing_mm=tuple(spacing))
        return grid_case(f"phantom-{seed}", volume, labels, organs, recipe.preprocessing, labels.names)

    cases = []
    for seed in range(1, recipe.made.count + 1):  # 0 is the tests', 100 the shipped sample's
        progress((seed - 1) / recipe.made.count, f"making phantom {seed} of {recipe.made.count}")
        told = [list(organs), recipe.preprocessing.to_dict(), seed, GENERATOR]
        cases.append(kept_case(f"phantom-{seed}", told, partial(made, seed), cache))
    return cases


def _abdomens(recipe: HeadRecipe, organs: Sequence[str], label_maps: Sequence[Path], ids: Mapping[int, str], cache: Path, progress: Progress) -> list[GridCase]:
    """Kept on disk: one takes seconds. Those to validate with come first, of each label map in turn."""
    bodies: dict[Path, Body] = {}

    def made(seed: int, file: Path) -> GridCase:
        if file not in bodies:
            bodies[file] = Body.of(read_truth(file), ids)
        volume, labels = abdomen(seed, bodies[file])
        return grid_case(f"abdomen-{seed}", volume, labels, organs, recipe.preprocessing, ids)

    count, cases = recipe.made.check + recipe.made.count, []
    for seed in range(count):
        progress(seed / count, f"imagining abdomen {seed + 1} of {count}")
        file = label_maps[seed % len(label_maps)]
        told = [str(file), file.stat().st_mtime_ns, sorted(ids.items()), list(organs), recipe.preprocessing.to_dict(), seed, GENERATOR]
        cases.append(kept_case(f"abdomen-{seed}", told, partial(made, seed, file), cache))
    return cases


def recoloured_cases(recipe: HeadRecipe, organs: Sequence[str], mr: Sequence[Path], cache: Path, leave_out: Sequence[str] = (),
                     progress: Progress = silent) -> list[GridCase]:
    """The training cases of labelled MR data sets in so many guises of CT as the recipe says, less those whose name matches a pattern of `leave_out`;
    none where the recipe has no use for them. Kept on disk, as abdomens are.
    """
    if recipe.made is None or not recipe.made.recoloured:
        return []
    sets = [(dataset.labels, kept_in(dataset.cases.get("train", ()), leave_out)) for dataset in map(read_dataset, mr)]
    wanted = [(ids, case, guise) for ids, cases in sets for case in cases for guise in range(recipe.made.guises)]
    found = []
    for seed, (ids, case, guise) in enumerate(wanted):
        def made(seed: int = seed, ids: Mapping[int, str] = ids, case: Case = case) -> GridCase:
            labels = read_truth(case.label)
            volume, labels = recoloured(seed, read_image(case.image), LabelMap(labels.ids, labels.geometry, dict(ids)))
            return grid_case(f"recoloured-{seed}", volume, labels, organs, recipe.preprocessing, ids)

        progress(seed / len(wanted), f"showing MR as CT, {seed + 1} of {len(wanted)}")
        told = [str(case.image), case.label.stat().st_mtime_ns, sorted(ids.items()), list(organs), recipe.preprocessing.to_dict(), seed, GENERATOR]
        found.append(kept_case(f"recoloured-{seed}", told, made, cache))
    return found


def rephased_cases(recipe: HeadRecipe, organs: Sequence[str], cases: Sequence[Case], ids: Mapping[int, str], cache: Path, progress: Progress = silent) -> list[GridCase]:
    """Every real case in so many other phases of contrast as the recipe says; `ids` names their label values. Kept on disk, as abdomens are."""
    count, found = recipe.made.rephased if recipe.made else 0, []
    for number, case in enumerate(case for case in cases for _ in range(count)):
        def made(number: int = number, case: Case = case) -> GridCase:
            labels = read_truth(case.label)
            named = LabelMap(labels.ids, labels.geometry, dict(ids))
            return grid_case(f"rephased-{number}", rephased(number, read_image(case.image), named), named, organs, recipe.preprocessing, ids)

        progress(number / (count * len(cases)), f"other phases of contrast, {number + 1} of {count * len(cases)}")
        told = [str(case.image), case.label.stat().st_mtime_ns, sorted(ids.items()), list(organs), recipe.preprocessing.to_dict(), number, GENERATOR]
        found.append(kept_case(f"rephased-{number}", told, made, cache))
    return found
