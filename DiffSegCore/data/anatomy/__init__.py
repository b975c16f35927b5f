"""A random head and neck: its tissues as shapes, painted from the outside in.

Patient millimetres (right, anterior, superior) from the middle of the mandible. Positions, sizes and HU follow
what planning CTs of the head and neck show; `mirrored` shapes are written for the patient's right.
"""

from __future__ import annotations

from ..canvas import Part
from . import head, jaw, neck, spine, throat, trunk
from .individual import Individual, Middle


def body(who: Individual) -> list[Part]:
    """Every tissue, later ones over earlier ones."""
    regions = (
        trunk.outline, trunk.chest, neck.muscles, head.skull, head.face, spine.column,
        neck.vessels_and_glands, throat.airway, jaw.mandible, jaw.parotids, spine.cord,
    )  # fmt: skip
    return [part for region in regions for part in region(who)]
