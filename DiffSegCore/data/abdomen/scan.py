"""An abdominal CT that never was, of a body that a label map describes."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...geometry import Geometry
from ...volume import LabelMap, Volume
from .bodies import FINE_MM, Body
from .painting import painted
from .shapes import drawn_shape, smooth
from .tissues import Tissues

THICKNESS = ((1, .4), (2, .45), (3, .15))  # slices of so many layers of 2 mm, and how often


def abdomen(seed: int, body: Body) -> tuple[Volume, LabelMap]:
    """Patient number `seed` of the body's kind: HU int16 (K, J, I) and ids uint8 with the body's names, on the same grid, seen in full or in a slab."""
    random = np.random.default_rng((seed, 5))
    shape = drawn_shape(body, random)
    hu = painted(shape, body.names, Tissues.draw(random), random)
    thick = int(random.choice([n for n, _ in THICKNESS], p=[chance for _, chance in THICKNESS]))
    image, ids = _sliced(_sharpness(hu, random), shape.ids, thick)
    image = noisy(image, thick, random)
    geometry = Geometry(image.shape, np.diag([FINE_MM, FINE_MM, FINE_MM * thick, 1.]))
    return Volume(np.clip(np.rint(image), -1024, 3071).astype(np.int16), geometry, "CT"), LabelMap(ids, geometry, dict(body.names))


def _sharpness(hu: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Voxels hold a part of each tissue that they touch."""
    return ndimage.gaussian_filter(hu, (random.uniform(.3, .7), *[random.uniform(.3, .65)] * 2), truncate=3)


def _sliced(hu: np.ndarray, ids: np.ndarray, thick: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over `thick` layers, and the labels of the middle ones."""
    count = len(hu) // thick
    layers = hu[:count * thick].reshape(count, thick, *hu.shape[1:])
    return layers.mean(1), np.ascontiguousarray(ids[thick // 2:][::thick][:count])


def noisy(image: np.ndarray, thick: int, random: np.random.Generator) -> np.ndarray:
    """Noise as of a filtered projection, coarser or finer, more of it in the middle; and a scanner that is a little off."""
    noise = ndimage.gaussian_filter(random.standard_normal(image.shape, dtype=np.float32), (.3, *[random.uniform(.4, 1.)] * 2), truncate=2)
    level = random.uniform(3, 21) / np.sqrt(thick) / max(float(noise.std()), 1e-3)
    gain, offset, drift = random.normal(1, .012), random.normal(0, 4), random.uniform(0, 5)
    dense = np.clip((image + 1000) / 200, .1, 1)
    return image + dense * ((gain - 1) * image + offset + level * noise + drift * smooth(image.shape, 30, random))
