"""Priors of whole cases, kept on disk: what a network or another tool says of images that it did not learn from."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ..data.cache import GridCase
from ..data.cases import Case
from ..data.prior_files import chances_on_grid, channels_of, label_prior, read_prior
from ..data.sources import read_image
from ..errors import BadInput
from ..files import atomic, without_suffix
from ..progress import Progress, silent
from ..volume import LabelMap
from .head import case_logits

SUFFIX = ".prior.npy"


def kept(cases: Sequence[GridCase], folder: Path, tag: Callable[[GridCase], str], make: Callable[[GridCase], np.ndarray],
         progress: Progress = silent) -> dict[str, np.ndarray]:
    """Case name -> chances float16 (labels, k, j, i) on the case's grid, memory-mapped: what lies in `folder` under the case's name and
    tag, and what `make` makes where nothing does. So a stopped run goes on with the next case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for number, case in enumerate(cases):
        progress(number / len(cases), f"prior of {case.name} ({number + 1} of {len(cases)})")
        file = kept_file(case, folder, tag(case))
        if not file.is_file():
            with atomic(file) as temporary, open(temporary, "wb") as opened:
                np.save(opened, make(case).astype(np.float16))
        found[case.name] = np.load(file, mmap_mode="r")
    return found


def kept_file(case: GridCase, folder: Path, tag: str) -> Path:
    """Where `kept` puts a case's prior."""
    return folder / f"{case.name}-{tag}{SUFFIX}"


def said_by(network: nn.Module, window: tuple[int, int, int], device: torch.device) -> Callable[[GridCase], np.ndarray]:
    """What `kept` makes with an organ network."""
    network = network.to(device).eval()
    return lambda case: case_logits(network, case, window, device).softmax(0).cpu().numpy()


def priors_in(folder: Path, cases: Sequence[Case], grids: Sequence[GridCase], organs: Sequence[str], ids: Mapping[int, str], cache: Path,
              progress: Progress = silent) -> dict[str, np.ndarray]:
    """Another tool's answers: a file named like the case, labels or chances as `read_prior` takes them, brought to the case's grid.

    Labels without names are the data set's `ids`. BadInput where a case has no file, or several.
    """
    if not folder.is_dir():
        raise BadInput(f"The folder of priors {folder} does not exist.")
    files = {case.name: _file_of(case.name, folder) for case in cases}
    images = {case.name: case.image for case in cases}

    def make(grid: GridCase) -> np.ndarray:
        given = read_prior(files[grid.name], read_image(images[grid.name]).geometry)
        if not isinstance(given, LabelMap):
            return chances_on_grid(given, grid.geometry, len(organs) + 1).numpy()
        channels, _ = channels_of(given if given.names else LabelMap(given.ids, given.geometry, ids), organs)
        return label_prior(channels, len(organs) + 1, given.geometry, grid.geometry)[0].numpy()

    def tag(grid: GridCase) -> str:
        state = files[grid.name].stat()
        text = f"{files[grid.name]} {state.st_mtime_ns} {state.st_size} {grid.geometry.ijk_to_ras.tolist()} {grid.geometry.shape} {list(organs)}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    return kept(grids, cache, tag, make, progress)


def _file_of(name: str, folder: Path) -> Path:
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and without_suffix(path).name == name and path.suffix not in (".json", ".pkl")]
    if len(found) != 1:
        held = f"several ({', '.join(path.name for path in found)})" if found else "none"
        raise BadInput(f"{folder} should hold one prior named {name} (.nii.gz, .nrrd, .mha, .seg.nrrd, .npz, .png); it holds {held}.")
    return found[0]
