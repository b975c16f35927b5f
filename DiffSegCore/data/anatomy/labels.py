"""The organs the phantom knows; ids as in the organ table."""

from __future__ import annotations

BRAINSTEM, SPINAL_CORD, PAROTID_RIGHT, PAROTID_LEFT, ESOPHAGUS, LARYNX, MANDIBLE = range(1, 8)

NAMES = {
    BRAINSTEM: "brainstem",
    SPINAL_CORD: "spinal_cord",
    PAROTID_RIGHT: "parotid_gland_right",
    PAROTID_LEFT: "parotid_gland_left",
    ESOPHAGUS: "esophagus",
    LARYNX: "larynx",
    MANDIBLE: "mandible",
}
