"""What a slice view shows, drawn by Slicer's own code without a window: segments in their colours, the preview in green and red."""

from __future__ import annotations

import os

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pytest

from DiffSegCore.geometry import Box
from DiffSegLib.Edits import Difference, Patch
from DiffSegLib.Preview import PreviewNode
from DiffSegLib.VolumeFrame import VolumeFrame
from Testing.slice_views import SliceView

SHAPE = (20, 40, 40)


@pytest.fixture
def volume(addVolume):
    node = addVolume(np.zeros(SHAPE, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    node.CreateDefaultDisplayNodes()
    return node


def shares(picture):
    """Of the pixels, how many are mainly red, green, blue."""
    main = picture.max(-1, keepdims=True) - picture.min(-1, keepdims=True) > 60
    return [float((main[..., 0] & (picture.argmax(-1) == channel)).mean()) for channel in range(3)]


def seen(view, volume):
    view.show(volume, "Axial", (40.0, 40.0, 20.0), 80.0)
    return view.pixels()


def test_segments_and_preview_are_seen_in_their_colours(scene, volume, addSegmentation):
    view = SliceView(scene, scene.keptAlive[0], "Red", (256, 256))
    ids = np.zeros(SHAPE, np.uint8)
    ids[5:15, 10:30, 10:20] = 1
    node = addSegmentation(volume, ids)
    node.GetSegmentation().GetNthSegment(0).SetColor(0.1, 0.2, 1.0)
    red, green, blue = shares(seen(view, volume))
    assert blue > 0.05 and red < 0.01 and green < 0.01

    after = ids.copy()
    after[5:15, 10:30, 20:28], after[5:15, 10:30, 10:14] = 1, 0
    whole = Box.whole(SHAPE)
    difference = Difference.of([Patch.of(whole, ids, after)], after)
    preview = PreviewNode(scene)
    preview.show(volume, VolumeFrame.of(volume).local, difference)
    red, green, blue = shares(seen(view, volume))
    assert green > 0.03 and red > 0.01 and blue > 0.03
    preview.hide()
    red, green, _ = shares(seen(view, volume))
    assert red < 0.01 and green < 0.01
