"""The self test of the module, here with a toy engine: it passes where all works, and fails where a step does not."""

from __future__ import annotations

from typing import Any

import pytest

from test_with_logic import service, voxels, volume  # noqa: F401  fixtures


@pytest.fixture
def logic(window: Any, scene: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    import slicer
    from DiffSegLib.Logic import Logic

    monkeypatch.setattr(slicer.util, "saveScene", lambda file: scene.WriteToMRB(file, None) is not False)
    monkeypatch.setattr(slicer.util, "loadScene", lambda file: scene.ReadFromMRB(file, False))
    return Logic(scene, service)


def test_it_passes_where_everything_works(logic, volume):  # noqa: F811
    from DiffSegLib.SelfTest import run

    said: list[str] = []
    run(said.append, logic, volume)
    assert said[-1] == "DiffSeg works"


@pytest.mark.parametrize("broken, complaint", [("accept", "a preview to accept"), ("undo", "undo brings"), ("redo", "redo brings")])
def test_it_fails_where_a_step_does_nothing(logic, volume, monkeypatch, broken, complaint):  # noqa: F811
    from DiffSegLib.SelfTest import run

    monkeypatch.setattr(logic, broken, lambda: False)
    with pytest.raises(AssertionError, match=complaint):
        run(lambda text: None, logic, volume)


def test_it_fails_where_the_worker_fails(logic, volume, monkeypatch):  # noqa: F811
    from DiffSegCore.service import Failure
    from DiffSegLib.SelfTest import run

    monkeypatch.setattr(logic, "segment", lambda volume, real=logic.segment: real(volume, None, "missing"))
    with pytest.raises(Failure, match="no model"):
        run(lambda text: None, logic, volume)
