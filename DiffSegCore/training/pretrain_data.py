"""The volumes that a pretraining learns from, and their body coordinates: prepared once, opened as they are needed."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch

from ..coordinates import CoordinateModel
from ..data.stream import Shelf
from ..data.unlabelled import Kept, kept_images
from ..errors import BadInput
from ..files import atomic
from ..model import Model, load_model_file
from ..networks.coordinates import STRIDE
from ..progress import Progress, part, silent
from .pretrain_patches import ImagePatches, NoisyPatches, Scan
from .pretrain_recipes import PretrainRecipe

HELD_OUT = 20  # one volume in so many is watched and not learnt from


@dataclass(frozen=True)
class Source:
    """Where a pretraining's volumes come from: as `kept_images` takes them; `coordinates` is a model of `diffseg train body`."""

    folders: Sequence[Path]
    coordinates: Path | None = None
    leave_out: Sequence[str] = ()
    skip_corrupt: bool = False
    workers: int = 1


@dataclass(frozen=True)
class Material:
    """Volumes to learn from and to watch; body: a volume's file of coordinates, by its image's file, {} without any; key: their model's hash."""

    learn: Sequence[Kept]
    watch: Sequence[Kept]
    bodies: dict[Path, Path]
    key: str = ""

    def patches(self, kept: Sequence[Kept], recipe: PretrainRecipe, seed: int) -> NoisyPatches:
        """Numbered noisy patches of these volumes, of which so many are open as the recipe's bytes allow."""
        shelf = Shelf(kept, self._open, _bytes, recipe.open_bytes)
        voxels = [int(np.prod(each.geometry.shape)) for each in kept]
        return NoisyPatches(ImagePatches(shelf, voxels, recipe.window, turned=recipe.turned, seed=seed), recipe.guidance, recipe.dropped, seed, recipe.near)

    def _open(self, kept: Kept) -> Scan:
        body = self.bodies.get(kept.file)
        return Scan(kept.case(), None if body is None else np.load(body, mmap_mode="r"))

    def layout(self) -> dict[str, Any]:
        """How coordinates run through the bodies, in the median over volumes: units a mm along R, A and S, and the middle; for sampling."""
        bodies = [(np.load(self.bodies[each.file]).astype(np.float32), each.geometry.spacing) for each in self.learn if self.bodies]
        if not bodies:
            return {}
        slopes = [[_rise(u[c], 2 - c) / (STRIDE * spacing[2 - c]) for c in range(3)] for u, spacing in bodies]
        middles = [np.median(u.reshape(3, -1), axis=1) for u, _ in bodies]
        return {"per_mm": np.median(slopes, axis=0).round(6).tolist(), "middle": np.median(middles, axis=0).round(4).tolist()}


def material(recipe: PretrainRecipe, source: Source, cache: Path, device: torch.device, progress: Progress = silent) -> Material:
    """Every training volume of the folders in the cache, with coordinates where the recipe's guidance wants them.

    One volume in twenty is held out; all serve for both where there are too few. BadInput where volumes are bad, or coordinates missing.
    """
    model = _coordinate_model(recipe, source, device)
    kept = kept_images(source.folders, recipe.preprocessing, cache, part(progress, 0, .7 if model else 1), source.skip_corrupt,
                       leave_out=source.leave_out, workers=source.workers)
    bodies = {}
    for number, each in enumerate(kept if model else ()):
        part(progress, .7, 1)(number / len(kept), f"coordinates of {each.name} ({number + 1} of {len(kept)})")
        bodies[each.file] = _body_file(each, model)
    learn, watch = [each for n, each in enumerate(kept) if n % HELD_OUT], kept[::HELD_OUT]
    return Material(learn or watch, watch, bodies, model.model.sha256 if model else "")


def watched_images(recipe: PretrainRecipe, source: Source, cache: Path, progress: Progress = silent) -> list[np.ndarray]:
    """Real volumes (k, j, i) in model values, to hold generated ones against: those held out first."""
    kept = kept_images(source.folders, recipe.preprocessing, cache, progress, source.skip_corrupt, leave_out=source.leave_out, workers=source.workers)
    return [each.image() for each in (*kept[::HELD_OUT], *(each for n, each in enumerate(kept) if n % HELD_OUT))]


def _coordinate_model(recipe: PretrainRecipe, source: Source, device: torch.device) -> CoordinateModel | None:
    if recipe.guidance == "none":
        return None
    if source.coordinates is None:
        raise BadInput(f"guidance {recipe.guidance!r} needs body coordinates: give --coordinates a model of `diffseg train body`, "
                       "or choose --guidance none")
    model = load_model_file(source.coordinates)
    _check_fit(model, recipe, source.coordinates)
    return CoordinateModel(model, device)


def _check_fit(model: Model, recipe: PretrainRecipe, path: Path) -> None:
    if model.preprocessing != recipe.preprocessing:
        raise BadInput(f"{path} was trained on another grid or other values ({model.preprocessing.to_dict()}) than recipe {recipe.name!r} "
                       f"uses ({recipe.preprocessing.to_dict()}); train body coordinates on this grid")


@torch.no_grad()
def _body_file(kept: Kept, model: CoordinateModel) -> Path:
    """Coordinates of the whole volume, float16 (3, k/4, j/4, i/4), beside its image."""
    file = kept.file.with_name(kept.file.name.replace(".image.npy", f".{model.model.sha256[:12]}.body.npy"))
    if not file.is_file():
        image = torch.from_numpy(np.array(kept.image(), np.float32))[None]
        with atomic(file) as temporary, open(temporary, "wb") as opened:
            np.save(opened, model.coarse(image).half().numpy())
    return file


def _bytes(kept: Kept) -> int:
    return 2 * int(np.prod(kept.geometry.shape))


def _rise(u: np.ndarray, axis: int) -> float:
    """Median step of a coordinate from one voxel to the next along its axis; 0 where there is but one."""
    return float(np.median(np.diff(u, axis=axis))) if u.shape[axis] > 1 else 0.
