"""The click model beside others that answer the same clicks on the same crops, from nothing: the same network without diffusion, grow-cut, random walker.

    python -m Testing.benchmarks.click_baselines --data DIR --model M [--control FILE] [--only PATTERN ...] [--cases N] [--clicks N] -o OUT

Every method sits in the same session, which zooms, keeps clicked voxels and changes what hangs together with a click; only the answer
on a crop differs. Grow-cut is Slicer's own (vtkImageGrowCutSegment of slicer-core), the random walker scikit-image's. Both need seeds
of what is not the object: until somebody clicks there, and besides, the crop's border serves, as a Slicer user would paint it.
"""
from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from DiffSegCore import looking
from DiffSegCore.click_evaluation.figure import save_curves
from DiffSegCore.click_evaluation.run import Task, Which, evaluated
from DiffSegCore.click_evaluation.summary import summary, table, write_rows, write_summary
from DiffSegCore.click_evaluation.trials import SessionClicker, Trial
from DiffSegCore.click_refining import Look
from DiffSegCore.model import Model, load_model_file
from DiffSegCore.prompt_maps import Steering

Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image and seeds (0 unknown, 1 object, 2 not) -> bool, all (k, j, i)
BETA = 130.  # of the random walker: scikit-image's own


def random_walk(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Grady's random walker (2006)."""
    from skimage.segmentation import random_walker

    return random_walker(image, seeds, beta=BETA, mode="cg_j", tol=1e-2) == 1


def grow_cut(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Slicer's "Grow from seeds": fast grow-cut (Zhu et al. 2014), of a calmed image: noise adds up along its paths."""
    import slicer
    from scipy import ndimage
    from vtkmodules.util.numpy_support import vtk_to_numpy

    method = slicer.vtkImageGrowCutSegment()
    method.SetIntensityVolume(_vtk(np.rint(1000 * ndimage.gaussian_filter(image, 1.)).astype(np.int16)))
    method.SetSeedLabelVolume(_vtk(seeds.astype(np.int16)))
    method.Update()
    return vtk_to_numpy(method.GetOutput().GetPointData().GetScalars()).reshape(image.shape) == 1


def _vtk(array: np.ndarray):
    """vtkImageData of an array (k, j, i)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    return image


METHODS: dict[str, Answer] = {"random walker": random_walk, "grow-cut": grow_cut}


def seeds_of(steering: Steering) -> np.ndarray:
    """What prompts fix, and the crop's border as background where they fix nothing."""
    core = steering.core.numpy()
    border = np.ones(core.shape, bool)
    border[2:-2, 2:-2, 2:-2] = False  # two voxels thick: grow-cut does not start from the outermost
    return np.select([core == 1, core == 0, border], [1, 2, 2], 0).astype(np.int32)


@contextmanager
def answered_by(answer: Answer) -> Iterator[None]:
    """Sessions in which every look is answered so, instead of by the network."""
    def look(model: Model, image: Tensor, prior: Tensor, steering: Steering, **how) -> Look:
        seeds = seeds_of(steering)
        found = answer(image[1].numpy(), seeds) if (seeds == 1).any() else np.zeros(seeds.shape, bool)
        nothing = torch.zeros(seeds.shape)
        return Look(torch.from_numpy(found).float(), nothing, nothing)

    before, looking.refine_crop = looking.refine_crop, look
    try:
        yield
    finally:
        looking.refine_crop = before


def compared(folder: Path, which: Which, clicks: int, model: Model, control: Model | None, methods: dict[str, Answer]) -> dict[str, list[Trial]]:
    """Trials by method, of the same objects and from nothing."""
    def trials(of: Model) -> list[Trial]:
        return evaluated(folder, which, Task(clicks=clicks), lambda prediction, organ: SessionClicker(of, device="cpu", organ=organ))

    found = {"diffusion": trials(model), **({"without diffusion": trials(control)} if control else {})}
    for name, answer in methods.items():
        with answered_by(answer):
            found[name] = trials(model)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--control", type=Path, help="of `diffseg train click --control`")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--organs", nargs="+", default=[])
    parser.add_argument("--cases", type=int)
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    control = load_model_file(args.control) if args.control else None
    found = compared(args.data, Which(only=args.only, organs=args.organs, cases=args.cases), args.clicks, load_model_file(args.model), control,
                     {name: METHODS[name] for name in args.methods})
    for name, trials in found.items():
        write_rows(trials, args.out / f"{name.replace(' ', '-')}.csv")
        write_summary(summary(trials), {"data": args.data.name, "method": name}, args.out / f"{name.replace(' ', '-')}.json")
        print(f"{name}\n{table(summary(trials))}\n")
    save_curves(args.out / "click_baselines.png", found, title=f"{args.data.name}, from nothing")


if __name__ == "__main__":
    main()
