"""A MONAI bundle on a volume: its own transforms, network, inferer and way back, as its inference configuration puts them together."""
from __future__ import annotations

import itertools
import math
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput, Cancelled
from ..foreign_file import ForeignModel
from ..geometry import Geometry
from ..preprocess import native_labels
from ..progress import Progress, part
from ..volume import Volume
from .checkpoint import read_checkpoint
from .found import Found
from .packages import needed, quietly

IMAGE, RESULT = "image", "pred"
_STORABLE = ("u1", "u2", "i2", "i4", "f4", "f8")  # what a NIfTI file holds
_NESTED = ("state_dict", "model")  # where training scripts put the weights in their checkpoints


def check_installed() -> None:
    needed("monai.bundle", "monai")
    needed("nibabel", "nibabel")


class Bundle:
    """A bundle on a device. Its configuration is a program: whoever makes this has agreed that it runs."""

    def __init__(self, model: ForeignModel, device: torch.device) -> None:
        check_installed()
        self._model, self._device = model, device
        with self._reasons("cannot be put together"):
            self._load()

    def run(self, volume: Volume, progress: Progress) -> Found:
        with tempfile.TemporaryDirectory(prefix="diffseg-") as folder, self._reasons("failed"), torch.no_grad():
            progress(0.0, "Preparing the image as the bundle does")
            item = self._before({IMAGE: _written(volume, Path(folder))})
            batch = _collate([item])
            batch[RESULT] = self._network_on(batch[IMAGE].to(self._device), part(progress, .1, .8))
            item = _decollate(batch)[0]
            logits, grid = self._logits(item)
            progress(0.8, "Labels on the scan's own grid")
            return Found(self._values(item, logits, grid, volume.geometry, part(progress, .8, 1)), logits, grid)

    def _load(self) -> None:
        from monai.bundle import ConfigParser

        root = Path(self._model.place)
        parser = ConfigParser()
        parser.read_config(self._model.path(self._model.settings["config"]))
        parser.read_meta(self._model.path("configs/metadata.json"))
        parser.config.update(bundle_root=str(root), device=self._device)
        if isinstance(after := parser.config.get("postprocessing"), dict):
            after["transforms"] = [each for each in after.get("transforms", ()) if not str(each.get("_target_", "")).endswith("SaveImaged")]
        with _importing(root), quietly():
            if "imports" in parser.config:
                parser.get_parsed_content("imports")
            self._before = parser.get_parsed_content("preprocessing")
            self._after = parser.get_parsed_content("postprocessing") if "postprocessing" in parser.config else None
            self._inferer = parser.get_parsed_content("inferer")
            self._network = self._weighted(parser).to(self._device).eval()
        self._amp = self._device.type == "cuda" and parser.config.get("evaluator", {}).get("amp") is True

    def _weighted(self, parser: Any) -> torch.nn.Module:
        path = self._model.path(self._model.settings["network"])
        if path.suffix == ".ts":
            return torch.jit.load(path, map_location="cpu")
        network = parser.get_parsed_content("network_def" if "network_def" in parser.config else "network")
        weights = read_checkpoint(path)
        weights = next((weights[key] for key in _NESTED if isinstance(weights.get(key), dict)), weights)
        network.load_state_dict(weights)
        return network

    def _network_on(self, image: Tensor, progress: Progress) -> Tensor:
        calls, steps = itertools.count(), _steps(self._inferer, tuple(image.shape[2:]))

        def network(windows: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            progress(min(1.0, next(calls) / steps), "Finding organs with the bundle")
            return self._network(windows, *args, **kwargs)

        with torch.autocast(self._device.type, enabled=self._amp):
            return self._inferer(image, network)

    def _logits(self, item: dict[str, Any]) -> tuple[Tensor, Geometry]:
        """(1 + organs, k, j, i) float32, and where these voxels are."""
        result, image = item[RESULT], item[IMAGE]
        wanted = 1 + len(self._model.organs)
        if len(result) != wanted:
            raise BadInput(f"The bundle {self._model.name!r} gives {len(result)} channels where its metadata names {wanted}; it cannot be used as it is.")
        grid = Geometry.from_ijk(tuple(image.shape[1:]), np.asarray(image.affine, dtype=np.float64))
        return _plain(result).float().cpu().permute(0, 3, 2, 1).contiguous(), grid

    def _values(self, item: dict[str, Any], logits: Tensor, grid: Geometry, native: Geometry, progress: Progress) -> np.ndarray:
        """Its own labels where its transforms lead back to the volume's grid; else those of the logits, brought there."""
        result = self._after(item)[RESULT] if self._after is not None else None
        if result is None or tuple(result.shape[1:]) != native.size_ijk:
            return native_labels(logits, grid, native, progress)
        result = _plain(result).cpu()
        values = result[0] if len(result) == 1 else result.argmax(0)
        return values.permute(2, 1, 0).round().to(torch.int32).numpy()

    @contextmanager
    def _reasons(self, what: str) -> Iterator[None]:
        """Whatever the bundle's program raises as a sentence, with what is missing if that is why."""
        try:
            yield
        except (BadInput, Cancelled, MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            causes = list(_causes(error))
            missing = next((each for each in causes if isinstance(each, ImportError)), None)
            way_out = f"it asks for {', '.join(self._model.settings['packages']) or 'more packages'}; pip install what is missing" if missing else \
                "try it in MONAI itself, or ask where it was published"
            raise BadInput(f"The bundle {self._model.name!r} {what} ({type(causes[-1]).__name__}: {missing or causes[-1]}): {way_out}.") from error


def _written(volume: Volume, folder: Path) -> str:
    """The volume as a file, since a bundle's transforms begin with reading one."""
    import nibabel

    array = volume.array if volume.array.dtype.str[1:] in _STORABLE else volume.array.astype(np.float32)
    array = array.transpose(2, 1, 0) if array.ndim == 3 else array.transpose(3, 2, 1, 0)
    path = folder / "image.nii"
    nibabel.save(nibabel.Nifti1Image(array, volume.geometry.ijk_to_ras), path)
    return str(path)


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    from monai.data import list_data_collate

    return list_data_collate(items)


def _decollate(batch: dict[str, Any]) -> list[dict[str, Any]]:
    from monai.data import decollate_batch

    return decollate_batch(batch)


def _plain(tensor: Any) -> Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else torch.as_tensor(tensor)


def _steps(inferer: Callable[..., Any], shape: tuple[int, ...]) -> int:
    """About how often the network is asked."""
    window = getattr(inferer, "roi_size", None)
    if window is None:
        return 1
    window = [window] * len(shape) if isinstance(window, int) else [side if side > 0 else n for side, n in zip(window, shape)]
    overlap = getattr(inferer, "overlap", 0.25)
    overlap = max(overlap) if isinstance(overlap, (tuple, list)) else overlap
    windows = math.prod(1 + max(0, math.ceil((n - side) / max(1, side * (1 - overlap)))) for n, side in zip(shape, window))
    return max(1, math.ceil(windows / getattr(inferer, "sw_batch_size", 1)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """A bundle's own Python files are found below its folder."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
