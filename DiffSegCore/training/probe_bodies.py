"""Body coordinates of cases, computed once on the whole volume and kept beside the images, for encoders that are guided by them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch

from ..coordinates import CoordinateModel
from ..data.cache import GridCase
from ..errors import BadInput
from ..files import atomic
from ..model import load_model_file
from ..preprocess import Preprocessing


@dataclass(frozen=True)
class BodyMaps:
    """cases -> coordinates float16 (3, k/4, j/4, i/4); `key`, the model's hash, tells runs with different coordinates apart."""

    model: CoordinateModel
    folder: Path
    key: str

    @classmethod
    def of(cls, file: Path, folder: Path, preprocessing: Preprocessing) -> BodyMaps:
        """From a model of `diffseg train body`; BadInput where it is none, or one for another grid."""
        model = load_model_file(file)
        if model.preprocessing != preprocessing:
            raise BadInput(f"{file} was trained on another grid or other values ({model.preprocessing.to_dict()}) than the recipe uses "
                           f"({preprocessing.to_dict()}); train body coordinates on this grid")
        return cls(CoordinateModel(model, "cpu"), folder, model.sha256)

    def __call__(self, cases: Sequence[GridCase]) -> list[np.ndarray]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return [self._of(case) for case in cases]

    def _of(self, case: GridCase) -> np.ndarray:
        file = self.folder / f"{case.name}-{self.key[:12]}.body.npy"
        if not file.is_file():
            image = torch.from_numpy(np.array(case.image, np.float32))[None]
            with atomic(file) as temporary, open(temporary, "wb") as opened:
                np.save(opened, self.model.coarse(image).half().numpy())
        return np.load(file, mmap_mode="r")
