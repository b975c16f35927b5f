"""Choices live in one node of the scene and have sensible values before anybody chose."""

from __future__ import annotations

from DiffSegLib.Parameters import Parameters


def test_nothing_chosen_means_the_defaults(scene):
    chosen = Parameters(scene)
    assert (chosen.volume, chosen.segmentation, chosen.region) == (None, None, None)
    assert (chosen.model, chosen.device, chosen.tool, chosen.lockOthers) == ("", "auto", "point", True)


def test_a_choice_is_seen_by_everybody_and_there_is_one_node(scene):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    Parameters(scene).volume = volume
    Parameters(scene).device = "cpu"
    Parameters(scene).lockOthers = False
    chosen = Parameters(scene)
    assert chosen.volume is volume and chosen.device == "cpu" and not chosen.lockOthers
    assert scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode") == 1


def test_a_removed_volume_is_not_chosen_any_more(scene):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    chosen = Parameters(scene)
    chosen.volume = volume
    scene.RemoveNode(volume)
    assert chosen.volume is None
    chosen.volume = None


def test_choices_come_back_with_the_saved_scene(scene, tmp_path):
    import slicer

    chosen = Parameters(scene)
    chosen.model, chosen.tool = "head-neck-ct", "lasso"
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    other = slicer.vtkMRMLScene()
    other.SetURL(str(tmp_path / "scene.mrml"))
    other.Connect()
    assert (Parameters(other).model, Parameters(other).tool) == ("head-neck-ct", "lasso")
