"""What answers the same clicks on the same crops as the click model, from nothing: grow-cut, random walker, the model itself in one look, and the
same network trained without diffusion.

    python -m Testing.benchmarks.click_baselines -o evaluation [--only SET ...] [--methods grow-cut random-walker one-look] [--cases N] [--clicks N]
    python -m Testing.benchmarks.click_baselines -o evaluation --methods --network NAME=FILE [NAME=FILE ...]
    python -m Testing.benchmarks.click_baselines -o evaluation --pack docs/clicking/rivals.json

Every method sits in the same session, which zooms, keeps clicked voxels and changes what hangs together with a click; only the answer
on a crop differs. Grow-cut is Slicer's own (vtkImageGrowCutSegment of slicer-core), the random walker scikit-image's. Both need seeds
of what is not the object: until somebody clicks there, and besides, the crop's border serves, as a Slicer user would paint it. A network without
diffusion is made by `diffseg train click --control`. Sets, cases and clicks are those of `click_curves`; one record a case, method and set, and what is
there is not computed again. --pack puts the tables' numbers of the methods into one file, with those of the click model's own card; `click_networks` packs networks.
"""
from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from DiffSegCore import looking
from DiffSegCore.click_evaluation.summary import summary, table
from DiffSegCore.click_evaluation.trials import Trial
from DiffSegCore.click_refining import STEPS, Look
from DiffSegCore.model import Model, load_model_file
from DiffSegCore.prompt_maps import Steering
from DiffSegCore.registry import load_click_model

from .bundled import arguments, ending, say
from .click_curves import CLICKS, CURVES, run, trials_of
from .records import fingerprint, records_in, write

Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image and seeds (0 unknown, 1 object, 2 not) -> bool, all (k, j, i)
BETA = 2000.  # of the random walker, chosen on cases of no test; with scikit-image's own 130 a click takes next to nothing


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


EMPTY = [name for name, curve in CURVES.items() if curve.start == "empty"]
METHODS: dict[str, Answer] = {"random-walker": random_walk, "grow-cut": grow_cut}
ONE_LOOK = "one-look"  # of the click model, instead of a walk of several: what it says before it has drawn anything


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


def trials_by(name: str, method: str, model: Model, args: argparse.Namespace) -> list[Trial]:
    """Of one set; what is missing is made first."""
    with answered_by(METHODS[method]) if method in METHODS else nullcontext():
        return run(name, model, args.data, args.cases, args.clicks, args.out / "rivals" / method, 1 if method == ONE_LOOK else STEPS)


def packed(methods: Sequence[tuple[str, Model]], out: Path, clicks: int) -> dict[str, Any]:
    """{set: {title, cases, methods: {method: numbers over all its objects}}} of whole sets of records; the click model's are its card's."""
    card = load_click_model().card["click_curves"]["sets"]
    found: dict[str, Any] = {name: {"title": CURVES[name].title, "cases": card[name]["cases"], "methods": {"click": card[name]["overall"]}} for name in EMPTY}
    for method, model in methods:
        for name, each in found.items():
            records = records_in(out / "rivals" / method / "trials" / f"{clicks}-clicks" / name, fingerprint(model))
            if len(records) == each["cases"]:
                each["methods"][method] = summary(trials_of(records))["overall"]
            else:
                say(f"{method}, {name}: {len(records)} of {each['cases']} cases have records of this model, left out")
    return found


def network(text: str) -> tuple[str, Model]:
    """"NAME=FILE" -> name, model."""
    name, _, file = text.partition("=")
    return name, load_model_file(Path(file))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--clicks", type=int, default=CLICKS, metavar="N", help=f"an object (default: {CLICKS})")
    parser.add_argument("--only", nargs="+", choices=EMPTY, default=EMPTY, metavar="SET", help=f"of {', '.join(EMPTY)}")
    parser.add_argument("--methods", nargs="*", choices=[*METHODS, ONE_LOOK], default=[*METHODS, ONE_LOOK])
    parser.add_argument("--network", nargs="+", type=network, default=[], metavar="NAME=FILE", help="click models, and what to call them")
    parser.add_argument("--pack", type=Path, metavar="FILE.json", help="only pack what is there")
    args = parser.parse_args()
    model = load_click_model(args.model)
    methods = [(method, model) for method in args.methods]
    if args.pack:
        write(args.pack, packed(methods, args.out, args.clicks))
        return
    for name in args.only:
        for method, answering in (*methods, *args.network):
            print(f"{method}, {name}\n{table(summary(trials_by(name, method, answering, args)))}\n", flush=True)


if __name__ == "__main__":
    sys.exit(ending(main))
