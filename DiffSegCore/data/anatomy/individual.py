"""What differs from one person to the next, and the tissues everyone is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..canvas import Part
from ..shapes import Shape
from .skin import outline_of

AIR, LUNG = -1000.0, -850.0


class Middle:
    """Answers like a random generator, with the middle of every distribution: who is drawn with it is the average person."""

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: int | None = None) -> float | np.ndarray:
        return loc if size is None else np.full(size, float(loc))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.5


@dataclass(frozen=True)
class Individual:
    """What differs from one person to the next; every number is drawn once."""

    rng: np.random.Generator | Middle
    fat_mm: float
    build: float      # girth of neck and trunk, 1 is average
    calcified: float  # of the laryngeal cartilage, 0..1
    contrast: float   # HU added to vessels
    fat_hu: float
    muscle_hu: float
    bone_hu: float
    skin: Shape

    @classmethod
    def draw(cls, rng: np.random.Generator | Middle) -> Individual:
        build = rng.normal(1, 0.05)
        return cls(
            rng=rng,
            fat_mm=rng.uniform(3, 12),
            build=build,
            calcified=rng.random(),
            contrast=rng.uniform(60, 180) if rng.random() < 0.4 else 0.0,
            fat_hu=rng.normal(-102, 6),
            muscle_hu=rng.normal(55, 6),
            bone_hu=rng.normal(900, 90),
            skin=outline_of(build),
        )

    def near(self, value: float, spread: float) -> float:
        return float(self.rng.normal(value, spread))

    def moved(self, points, spread_mm: float) -> np.ndarray:
        """The points, all shifted by the same random step."""
        return np.asarray(points, float) + self.rng.normal(0, spread_mm, 3)

    def moved_along(self, points, spread_mm: float) -> np.ndarray:
        """As `moved`, but staying in the median plane."""
        return np.asarray(points, float) + self.rng.normal(0, spread_mm, 3) * (0, 1, 1)

    def factor(self, spread: float) -> float:
        """A random factor near 1, never more than 2.5 spreads away."""
        return float(np.clip(self.rng.normal(1, spread), 1 - 2.5 * spread, 1 + 2.5 * spread))

    def sized(self, radii, spread: float = 0.08) -> np.ndarray:
        return np.array([radius * self.factor(spread) for radius in radii])

    def bone(self, density: float, cortex_mm: float, marrow: float) -> tuple[tuple[float, float], ...]:
        """Coats of a bone: a dense cortex and a spongy inside, as shares of this person's bone."""
        return (0.0, self.bone_hu * density), (cortex_mm, self.bone_hu * marrow)


def soft(shape: Shape, hu: float, label: int | None = None) -> Part:
    return Part(shape, ((0.0, hu),), label)
