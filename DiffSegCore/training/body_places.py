"""Patients laid over each other by their organs: where in one common body each millimetre of a labelled case lies."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

ENOUGH = 3      # organs that a patient needs to be laid over others
TURNS = 20      # of fitting patients to the mean body and the mean body to them
PEOPLE = .1     # standard deviation of the log of people's size
ORGAN_MM = 10.  # how far an organ of a patient of the right size lies from where others have it


@dataclass(frozen=True)
class Place:
    """to_body (3, 4): homogeneous RAS mm of a patient to mm of the common body, R, A, S; log_scale: log g, above 0 for small people."""

    to_body: np.ndarray
    log_scale: float


def common_places(centres: Mapping[str, np.ndarray], partner: Sequence[int]) -> dict[str, Place]:
    """Case name -> place, for the cases that show enough organs whole; centres: RAS mm (organs, 3), NaN where unknown.

    Shift and scale of every patient and the mean body in turn, by least squares (Procrustes without rotation: headers are trusted);
    the scale is drawn towards 1, for few organs say little of it. Mirror images take part, with organs exchanged for their
    `partner`, so the common body is symmetrical and right and left are as far from its middle.
    """
    shown = {name: points for name, points in centres.items() if np.isfinite(points[:, 0]).sum() >= ENOUGH}
    if not shown:
        return {}
    everybody = np.ma.masked_invalid([*shown.values(), *(points[list(partner)] * (-1, 1, 1) for points in shown.values())])
    body = (everybody - everybody.mean(axis=1, keepdims=True)).mean(axis=0)
    for _ in range(TURNS):
        body = np.ma.stack([_moved(_fit(points, body).to_body, points) for points in everybody]).mean(axis=0)
        body = body - body.mean(axis=0)  # symmetrical, for whoever has an organ has its partner in the mirror
    return {name: _fit(np.ma.masked_invalid(points), body) for name, points in shown.items()}


def _fit(points: np.ma.MaskedArray, body: np.ma.MaskedArray) -> Place:
    """The shift and scale that lay points (organs, 3) over the body's."""
    there = ~(np.ma.getmaskarray(points) | np.ma.getmaskarray(body)).any(axis=1)
    x, y = points.data[there], body.data[there]
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    towards_one = (ORGAN_MM / PEOPLE) ** 2
    scale = ((a * b).sum() + towards_one) / ((a * a).sum() + towards_one)
    return Place(np.column_stack([scale * np.eye(3), y.mean(axis=0) - scale * x.mean(axis=0)]), float(np.log(scale)))


def _moved(matrix: np.ndarray, points: np.ma.MaskedArray) -> np.ma.MaskedArray:
    return np.ma.array(points.data @ matrix[:, :3].T + matrix[:, 3], mask=np.ma.getmaskarray(points))
