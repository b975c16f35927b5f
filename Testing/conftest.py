"""What several test files share: where the real data lie, and small grids with an awkward pose."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared_data: needs the real volumes of ../shared/data or DIFFSEG_DATA")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("shared_data")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [each for each in terminalreporter.stats.get("skipped", ()) if "shared_data" in getattr(each, "keywords", ())]
    if skipped:
        terminalreporter.section("REAL DATA NOT FOUND", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests on real volumes did not run. Put the data at {BESIDE} or set DIFFSEG_DATA.")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes, read-only."""
    named = os.environ.get("DIFFSEG_DATA")
    if named and not Path(named).is_dir():
        pytest.fail(f"DIFFSEG_DATA names {named}, which is not a folder")
    folder = Path(named) if named else BESIDE
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    """Rotation about R, then A, then S."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = one @ rotation
    return rotation


def grid(axes: np.ndarray, shape: tuple[int, int, int] = (4, 5, 6)) -> Geometry:
    matrix = np.eye(4)
    matrix[:3, :3] = axes * [0.7, 0.8, 2.5]  # I, J, K spacing in mm
    matrix[:3, 3] = [-81.25, 40.5, -312.75]
    return Geometry(shape, matrix)


@pytest.fixture
def oblique() -> Geometry:
    """(4, 5, 6) voxels, no axis along R, A or S."""
    return grid(turned((10, -20, 30)))


@pytest.fixture
def left_handed() -> Geometry:
    """Oblique, and mirrored: its axes make a left hand."""
    return grid(turned((10, -20, 30)) @ np.diag([1.0, 1.0, -1.0]))


@pytest.fixture(params=["oblique", "left_handed"])
def awkward(request: pytest.FixtureRequest) -> Geometry:
    return request.getfixturevalue(request.param)


@pytest.fixture
def labels(awkward: Geometry) -> LabelMap:
    """Two known organs, one absent from the voxels, and one that is not in the organ table."""
    ids = np.zeros(awkward.shape, np.uint8)
    ids[1, 1:3, 2:5], ids[2, 2, 3], ids[3, 4, 5] = 12, 3, 200
    return LabelMap(ids, awkward, {3: "parotid_gland_right", 8: "spleen", 12: "liver", 200: "my implant"})
