"""The module's self test in the application: the path that a user takes, with the worker, the shipped sample and nothing made up."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import slicer

_LONGEST_S = 600  # for one step, on a slow computer without a graphics card
_LIKENESS = 0.5  # Dice with the sample's known truth: a result that lies elsewhere or is flipped has none


def run(say: Callable[[str], Any], logic: Any = None, volume: Any = None) -> None:
    """Segment the sample, click twice, undo, redo, accept, save and reopen; AssertionError or the logic's own error where a step fails.

    logic, volume: the module's own and the sample where None.
    """
    from . import SampleVolume, WorkerPython

    logic = logic or WorkerPython.newLogic()
    try:
        sample = volume is None
        volume = SampleVolume.load() if sample else volume
        say("Segmenting the sample")
        segmentation = _done(logic.segment(volume))
        rows = logic.organs()
        _must(rows and all(row.ml > 0 for row in rows), f"every organ has voxels: {[(row.name, row.ml) for row in rows]}")
        if sample:
            _lookAlike(segmentation, volume)
        say("Correcting " + rows[-1].name)
        _correct(logic, segmentation, volume, rows[-1].segmentId)
        say("Saving and reopening the scene")
        _saveAndReopen(segmentation.GetName())
    finally:
        logic.close()
    say("DiffSeg works")


def _done(task: Any) -> Any:
    """The task's result; the window lives on meanwhile, as it does for a user."""
    end = time.monotonic() + _LONGEST_S
    while not task.poll():
        _must(time.monotonic() < end, f"a step is done within {_LONGEST_S} s")
        slicer.app.processEvents()
        time.sleep(0.02)
    return task.wait()


def _correct(logic: Any, segmentation: Any, volume: Any, segment: str) -> None:
    """One voxel is said not to belong, one beside the segment to belong; both must obey once accepted, and undo must bring all back."""
    before = _mask(segmentation, segment, volume)
    inner, outer = np.argwhere(before)[0], _beside(segmentation, volume, before)
    _done(logic.click(_world(volume, inner), segment, False))
    _done(logic.click(_world(volume, outer), segment, True))
    _must(np.array_equal(_mask(segmentation, segment, volume), before), "a preview changes nothing")
    _must(logic.accept(), "there is a preview to accept")
    after = _mask(segmentation, segment, volume)
    _must(not after[tuple(inner)] and after[tuple(outer)], "clicked voxels obey")
    logic.undo()
    _must(np.array_equal(_mask(segmentation, segment, volume), before), "undo brings every voxel back")
    logic.redo()
    _must(np.array_equal(_mask(segmentation, segment, volume), after), "redo brings the correction back")
    logic.setChecked(segment, True)


def _beside(segmentation: Any, volume: Any, mask: np.ndarray) -> np.ndarray:
    """A voxel beside the segment that no segment has: locked neighbours would rightly keep theirs."""
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    taken = np.any([_mask(segmentation, each, volume) for each in ids], axis=0)
    near = np.zeros_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            near |= np.roll(mask, step, axis)
    return np.argwhere(near & ~taken)[-1]


def _lookAlike(segmentation: Any, volume: Any) -> None:
    """Dice with the truth that ships with the sample, organ by organ."""
    from DiffSegCore.resources import resource

    truth = slicer.util.loadLabelVolume(str(resource("Sample", "sample_labels.nii.gz")))
    array = slicer.util.arrayFromVolume(truth)
    found = np.any([_mask(segmentation, each, volume) for each in segmentation.GetSegmentation().GetSegmentIDs()], axis=0)
    dice = 2 * (found & (array > 0)).sum() / (found.sum() + (array > 0).sum())
    slicer.mrmlScene.RemoveNode(truth)
    _must(dice > _LIKENESS, f"the result lies on the organs: Dice {dice:.2f}")


def _saveAndReopen(name: str) -> None:
    node = slicer.util.getNode(name)
    before = {each: slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, each).sum() for each in node.GetSegmentation().GetSegmentIDs()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "DiffSegTest.mrb"
        _must(slicer.util.saveScene(str(file)) and file.is_file(), "the scene is saved")
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(str(file))
    node = slicer.util.getNode(name)
    after = {each: slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, each).sum() for each in node.GetSegmentation().GetSegmentIDs()}
    _must(before == after, f"the reopened scene has the same voxels: {before} and {after}")


def _mask(segmentation: Any, segment: str, volume: Any) -> np.ndarray:
    """(K, J, I) bool on the volume's grid."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume) > 0


def _world(volume: Any, kji: np.ndarray) -> tuple[float, float, float]:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix.MultiplyPoint((*(float(n) for n in kji[::-1]), 1.0))[:3]


def _must(holds: Any, what: str) -> None:
    if not holds:
        raise AssertionError(f"Not so: {what}.")
