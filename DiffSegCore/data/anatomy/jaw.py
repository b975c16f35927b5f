"""The mandible with its teeth, and the parotid glands behind it."""

from __future__ import annotations

from ..canvas import Part
from ..shapes import Shape, ellipsoid, joined, mirrored, on_the_left, tube, without
from .individual import Individual, soft
from .labels import MANDIBLE, PAROTID_LEFT, PAROTID_RIGHT


def mandible(who: Individual) -> list[Part]:
    """A horseshoe of bone that climbs at both ends to a condyle and a coronoid process."""
    height, chin = who.sized((13, 44, 1), 0.07)[:2]
    arch = [(0, chin, -20), (16, chin - 4, -20), (29, chin - 19, -18), (38, 5, -14), (45, -17, -8)]
    horseshoe = tube(arch, (6, 5.6, 5.4, 5.2, 4.7), (1, 1, height / 5))
    ramus = tube([(45, -13, -6), (47, -19, 20)], (4.3, 3.9), (1, 3.6, 1.5))
    condyle = tube([(47, -26, 16), (49, -29, 33), (51, -30, 37)], (4, 4, 6), (1.15, 1, 1))
    coronoid = tube([(46, -11, 16), (46, -5, 33)], (3.5, 2.5), (1, 2, 1))
    bone = mirrored(joined(horseshoe, ramus, condyle, coronoid, blend_mm=4))
    return [Part(bone, ((0.0, 1.2 * who.bone_hu), (2.2, 0.55 * who.bone_hu)), MANDIBLE), *_teeth(who, chin)]


def _teeth(who: Individual, chin: float) -> list[Part]:
    if who.rng.random() < 0.15:
        return []
    row = [(0, chin + 1, -2), (13, chin - 4, -2), (25, chin - 21, 0), (32, 8, 2)]
    teeth = [Part(mirrored(tube(row, (3.5, 3.5, 4, 4.2), (1, 1, 1.6))), ((0.0, who.near(1900, 200)),))]
    if who.rng.random() < 0.3:
        side = 1 if who.rng.random() < 0.5 else -1
        teeth.append(soft(ellipsoid((side * 29, 16, 6), (4, 5, 4)), 3500.0))   # a filling
    return teeth


def parotids(who: Individual) -> list[Part]:
    hu = who.near(-5, 22)
    right, left = (_parotid(who) for _ in range(2))
    return [soft(right, hu, PAROTID_RIGHT), soft(on_the_left(left), hu + who.near(0, 4), PAROTID_LEFT)]


def _parotid(who: Individual) -> Shape:
    """Superficial lobe over the edge of the ramus, deep lobe behind it."""
    size, centre = who.sized((10.5, 15, 23)), who.moved((60, -40, 10), 1.5)
    superficial = ellipsoid(centre, size)
    front = ellipsoid(centre + (1, 14, 2), (6, 12, 13) * who.sized((1, 1, 1), 0.15))
    deep = ellipsoid(centre - (11, 1, -1), size * (0.85, 0.55, 0.7))
    tail = ellipsoid(centre - (3, 6, 16), size * (0.75, 0.6, 0.6))
    ramus = tube([(45, -13, -14), (47, -20, 20), (49, -29, 40)], (5, 4.8, 6), (1, 3.2, 1.2))
    return without(joined(superficial, front, deep, tail, blend_mm=9), ramus)
