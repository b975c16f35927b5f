"""What fills hollow organs, and what is found inside solid ones."""
from __future__ import annotations

import numpy as np

GAS = -960.


def filled(hu: np.ndarray, mask: np.ndarray, inside: np.ndarray, name: str, front: np.ndarray, folds: np.ndarray, coarse: np.ndarray,
           wall: float, oral: float, random: np.random.Generator) -> None:
    """Paint stomach or bowel `mask`, in place; `inside` is what lies within the wall; folds, coarse: fine and coarse noise of unit variance.

    Gas floats to the front, as people lie on their backs. oral: HU of swallowed contrast, 0 for none.
    """
    hu[mask] = wall + 5 * folds[mask]
    if name == "stomach":
        if random.random() < .25:
            return  # empty: nothing but wall
        gas = inside & (front > _level(front, inside, random))
    else:
        often = {"colon": (-.1, 1.4), "rectum": (-.2, 1.2)}.get(name, (1.1, 2.4))
        gas = inside & (coarse + .7 * front > random.uniform(*often))
    hu[inside] = _chyme(name, folds[inside], coarse[inside], oral, random)
    hu[gas] = GAS + 15 * folds[gas]


def _level(front: np.ndarray, inside: np.ndarray, random: np.random.Generator) -> float:
    """Where the gas bubble of the stomach begins: none of it, or up to six tenths are gas."""
    if not inside.any() or random.random() < .25:
        return np.inf
    return float(np.quantile(front[inside], random.uniform(.4, 1)))


def _chyme(name: str, folds: np.ndarray, coarse: np.ndarray, oral: float, random: np.random.Generator) -> np.ndarray:
    """Fluid, food or stool, with swallowed contrast where it came by."""
    base, grain = (random.uniform(0, 25), 2.) if random.random() < .5 else (random.uniform(20, 65), random.uniform(5, 25))
    if name in ("colon", "rectum"):
        base, grain = random.uniform(0, 60), random.uniform(5, 70)  # stool holds bubbles
    found = base + grain * folds
    if oral:
        found = np.where(coarse > random.uniform(-1.5, .8), oral + .1 * oral * folds, found)
    return found


def speckled(hu: np.ndarray, mask: np.ndarray, step_mm: float, chance: float, offset: tuple[float, float], radius_mm: tuple[float, float],
             random: np.random.Generator) -> None:
    """Round lesions inside a mask, in place: up to five, brighter or darker than what they lie in by `offset` HU."""
    if random.random() >= chance or not mask.any():
        return
    places = np.argwhere(mask)
    for _ in range(random.integers(1, 6)):
        centre, radius = places[random.integers(len(places))], random.uniform(*radius_mm) / step_mm
        low = np.maximum(np.floor(centre - radius).astype(int), 0)
        high = np.minimum(np.ceil(centre + radius).astype(int) + 1, mask.shape)
        box = tuple(map(slice, low, high))
        away = sum((axis - middle) ** 2 for axis, middle in zip(np.ogrid[box], centre))
        hu[box] += np.where((away < radius ** 2) & mask[box], random.uniform(*offset), 0).astype(np.float32)
