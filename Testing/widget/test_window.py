"""The window: real buttons over a real scene; the logic behind them is a fake that answers when told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes import FakeLogic, Pending, Place, Row

ROWS = [("a", "Larynx", (0.9, 0.6, 0.2), 31.4, (25.0, 37.0), 0.62), ("b", "Mandible", (0.9, 0.9, 0.7), 61.0, (60.0, 63.0), 0.97)]


@pytest.fixture
def logic() -> FakeLogic:
    return FakeLogic([Row(*row) for row in ROWS])


@pytest.fixture
def panel(window: Any, frame: Any, logic: FakeLogic) -> Any:
    from DiffSegLib.Widget import Widget

    panel = Widget(frame.layout(), str(_uiFile()), logic)
    frame.setMRMLScene(panel._root.mrmlScene())
    yield panel
    panel.close()


def _uiFile() -> Any:
    from conftest import EXTENSION

    return EXTENSION / "Resources" / "UI" / "DiffSeg.ui"


@pytest.fixture
def withVolume(panel: Any, addVolume: Any) -> Any:
    volume = addVolume(np.zeros((4, 5, 6), np.int16), np.diag([1, 1, 2, 1.0]))
    panel.ui.volumeSelector.setCurrentNode(volume)
    return volume


def test_without_a_volume_there_is_nothing_to_segment(panel):
    assert not panel.ui.segmentButton.enabled
    assert "Load a volume" in panel.ui.checkLabel.text


def test_a_chosen_volume_is_checked_and_can_be_segmented(panel, withVolume):
    assert "suitable" in panel.ui.checkLabel.text
    assert panel.ui.segmentButton.enabled


def test_the_volume_in_the_slices_is_taken_when_the_module_opens(panel, scene, addVolume):
    addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4), "Scout")
    shown = addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4), "CT")
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(shown.GetID())
    panel.enter()
    assert panel.inputs.volume is shown


def test_a_volume_that_is_loaded_while_the_module_is_open_is_taken_if_none_was_chosen(panel, addVolume, spin):
    panel.enter()
    first = addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4))
    spin(lambda: panel.inputs.volume is first)
    addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4))
    spin(lambda: True)
    assert panel.inputs.volume is first


def test_segmenting_shows_stages_and_a_cancel_button_and_then_the_organs(panel, withVolume, logic):
    panel.ui.segmentButton.click()
    assert logic.calls[-1] == ("segment", None, "auto"), "the image chooses the model where nobody does"
    logic.task.progress(0.5, "Organs")
    assert panel.ui.progressBar.value == 500 and panel.ui.stageLabel.text == "Organs"
    assert not panel.ui.segmentButton.enabled
    panel.ui.cancelButton.click()
    assert logic.task.cancelled
    logic.task.done(None)
    assert panel.ui.segmentButton.enabled
    assert panel.ui.progressRow.isHidden()


def test_a_model_that_was_chosen_gives_way_where_a_volume_is_of_a_modality_that_others_learnt_from(panel, addVolume, logic):
    ct, mr, unknown = (addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4), name, name) for name in ("CT", "MR", ""))
    panel.ui.modelSelector.setCurrentIndex(panel.ui.modelSelector.findData("head-neck-ct"))
    chosen = []
    for volume in (ct, unknown, mr, unknown, ct):
        panel.ui.volumeSelector.setCurrentNode(volume)
        chosen.append(panel.ui.modelSelector.currentData)
    assert chosen == ["head-neck-ct", "head-neck-ct", "automatic", "automatic", "automatic"]
    panel.ui.segmentButton.click()
    assert logic.calls[-1] == ("segment", None, "auto")


def test_where_the_image_chooses_it_is_checked_against_what_models_of_its_own_modality_learnt_from(panel, addVolume, logic, monkeypatch):
    monkeypatch.setattr(logic, "inputCheck", lambda volume, learntFrom: ("green", learntFrom))
    told = []
    for name in ("MR", "CT", "PT"):
        panel.ui.volumeSelector.setCurrentNode(addVolume(np.zeros((4, 5, 6), np.int16), np.eye(4), name, name))
        told.append(panel.ui.checkLabel.text)
    assert panel.ui.modelSelector.currentData == "automatic"
    assert told == ["MR", "CT", "CT"], "nothing learnt from PT, which the check then says"


def test_a_model_chosen_against_the_modality_stays_chosen_for_that_volume(panel, withVolume):
    panel.ui.modelSelector.setCurrentIndex(panel.ui.modelSelector.findData("abdomen-mr"))
    panel.inputs.neededSegmentation()
    assert panel.ui.modelSelector.currentData == "abdomen-mr" and "CT" in panel.ui.checkLabel.text


def test_where_something_is_missing_segment_leads_to_setup(panel, withVolume, logic, monkeypatch):
    from DiffSegLib import PackageCheck

    missing = {"name": "torch", "wanted": ">=2.4", "state": "missing", "version": "", "detail": "not installed"}
    real = PackageCheck.check
    monkeypatch.setattr(PackageCheck, "check", lambda requirement: missing if requirement.startswith("torch") else real(requirement))
    panel.ui.segmentButton.click()
    assert "segment" not in [call[0] for call in logic.calls]
    assert not panel.ui.setupButton.collapsed and "Setup" in panel.ui.messageLabel.text
    assert panel.ui.setupLabel.text.startswith("1 of 10") and panel.ui.installButton.enabled
    assert [panel.ui.requirementTable.item(0, column).text() for column in (0, 1, 3)] == ["torch", "missing", "200+ MB, BSD-3-Clause"]


def test_the_table_says_name_volume_and_range(panel):
    panel.refresh()
    assert [panel.ui.organTable.item(0, column).text() for column in range(3)] == ["Larynx", "31.4 ml", "25.0 – 37.0"]
    assert panel.ui.checkedLabel.text == "0 of 2 checked"


@pytest.mark.parametrize("rate, said", [(.9, "90 %"), (None, "own chances alone")])
def test_pointing_at_a_range_tells_what_it_is_worth(panel, logic, rate, said):
    logic.rows = [replace(row, rangeRate=rate) for row in logic.rows]
    panel.refresh()
    panel.ui.measureButton.collapsed = False
    for table in (panel.ui.organTable, panel.ui.measureTable):
        assert said in table.item(0, 2).toolTip()


def test_a_tick_marks_a_segment_as_checked(panel, logic):
    import qt

    panel.refresh()
    panel.ui.organTable.item(1, 3).setCheckState(qt.Qt.Checked)
    assert logic.rows[1].checked
    assert panel.ui.checkedLabel.text == "1 of 2 checked"


def test_the_next_place_moves_the_views_and_selects_its_segment(panel, logic):
    panel.refresh()
    panel.ui.nextPlaceButton.click()
    logic.task.done(Place((1.0, 2.0, 3.0), "b", "Mandible: its samples differ by 3 ml here."))
    assert panel.organs.current == "b"
    assert "3 ml" in panel.ui.placeLabel.text


def test_an_uncertainty_that_could_not_be_shown_is_not_ticked(panel, logic):
    panel.refresh()
    panel.ui.uncertaintyBox.checked = True
    logic.task.error(Failure("Cancelled", ""))
    assert not panel.ui.uncertaintyBox.checked and logic.calls[-1] == ("hideUncertainty",)


def _click(app: Any, x: int, y: int, button: str = "Left", to: tuple[int, int] | None = None, control: int = 0, view: str = "Red") -> None:
    interactor = app.layoutManager().sliceWidget(view).sliceView().interactor()
    interactor.SetEventInformation(x, y, control, 0, "\0", 0, "")
    interactor.InvokeEvent(f"{button}ButtonPressEvent")
    if to is not None:
        for part in (0.5, 1.0):
            interactor.SetEventInformation(round(x + part * (to[0] - x)), round(y + part * (to[1] - y)), control, 0, "\0", 0, "")
            interactor.InvokeEvent("MouseMoveEvent")
    interactor.InvokeEvent(f"{button}ButtonReleaseEvent")


@pytest.mark.parametrize("button, control, swapped, inside", [
    ("Left", 0, False, True), ("Right", 0, False, False), ("Left", 1, False, False), ("Left", 0, True, False), ("Right", 0, True, True)])
def test_the_mouse_button_says_whether_a_place_belongs(panel, window, logic, button, control, swapped, inside):
    panel.refresh()
    panel.ui.pointButton.checked = True
    if swapped:
        panel.ui.excludesButton.checked = True
    _click(window, 150, 100, button, control=control)
    name, stroke, segment = logic.calls[-1]
    assert (name, segment, stroke.tool, stroke.inside) == ("prompt", "a", "point", inside)
    node = window.layoutManager().sliceWidget("Red").mrmlSliceNode()
    assert stroke.ras == (node.GetXYToRAS().MultiplyPoint((150, 100, 0, 1))[:3],)


def test_a_scribble_has_the_places_of_the_stroke_and_a_box_its_corners(panel, window, logic):
    panel.refresh()
    panel.ui.scribbleButton.checked = True
    _click(window, 10, 10, to=(50, 10))
    assert (logic.calls[-1][1].tool, len(logic.calls[-1][1].ras)) == ("scribble", 3)
    logic.task.done(None)
    panel.ui.boxButton.checked = True
    assert not panel.ui.scribbleButton.checked
    _click(window, 10, 10, to=(50, 60))
    assert (logic.calls[-1][1].tool, len(logic.calls[-1][1].ras)) == ("box", 2)


def test_a_tool_that_was_put_away_leaves_the_mouse_to_slicer(panel, window, logic):
    panel.refresh()
    panel.ui.pointButton.checked = True
    panel.ui.pointButton.checked = False
    before = len(logic.calls)
    _click(window, 150, 100)
    assert len(logic.calls) == before


def test_a_view_that_a_new_layout_brings_takes_clicks_too(panel, window, logic):
    panel.refresh()
    panel.ui.pointButton.checked = True
    window.layoutManager().addView("Red+")
    _click(window, 150, 100, view="Red+")
    assert logic.calls[-1][0] == "prompt"


def test_without_slice_views_tools_do_nothing(window, frame, logic):
    from DiffSegLib.Widget import Widget

    window._views = None  # Slicer without a main window has no layout manager
    panel = Widget(frame.layout(), str(_uiFile()), logic)
    panel.refresh()
    panel.ui.pointButton.checked = True
    panel.close()


def test_a_window_that_is_closed_with_slicer_no_longer_asks_for_the_views_that_went_before_it(window, frame, logic):
    from DiffSegLib.Widget import Widget

    panel = Widget(frame.layout(), str(_uiFile()), logic)
    window._views.disconnect = None  # PythonQt raises for what is destroyed
    window._views = None
    panel.close()
    assert logic.closed


def test_while_a_tool_is_used_the_view_does_not_see_the_mouse(panel, window):
    seen = []
    interactor = window.layoutManager().sliceWidget("Red").sliceView().interactor()
    interactor.AddObserver("LeftButtonPressEvent", lambda *_: seen.append(1), 0.0)
    panel.refresh()
    panel.ui.pointButton.checked = True
    _click(window, 150, 100)
    assert not seen
    panel.ui.pointButton.checked = False
    _click(window, 150, 100)
    assert seen == [1]


@pytest.mark.parametrize("button", ["Left", "Right"])
def test_a_double_click_is_one_prompt_and_leaves_the_view_as_it_is(panel, window, logic, button):
    seen = []
    interactor = window.layoutManager().sliceWidget("Red").sliceView().interactor()
    panel.refresh()
    panel.ui.pointButton.checked = True
    for event in ("PressEvent", "ReleaseEvent", "DoubleClickEvent"):
        interactor.AddObserver(f"{button}Button{event}", lambda *_: seen.append(1), 0.0)
    for event in ("PressEvent", "ReleaseEvent", "DoubleClickEvent", "ReleaseEvent"):
        interactor.InvokeEvent(f"{button}Button{event}")
    assert not seen and [call[0] for call in logic.calls].count("prompt") == 1
    interactor.InvokeEvent(f"{button}ButtonReleaseEvent")
    assert seen == [1], "a release that is not ours is Slicer's"


def test_a_preview_says_its_millilitres_and_is_accepted_or_dropped(panel, window, logic):
    panel.refresh()
    panel.ui.pointButton.checked = True
    assert panel.ui.previewRow.isHidden()
    _click(window, 150, 100)
    logic.pending = Pending(3.24, 0.1)
    logic.task.done(logic.pending)
    assert panel.ui.previewLabel.text == "<b>3.2 ml</b> added, <b>0.10 ml</b> removed"
    panel.ui.rejectButton.click()
    assert logic.calls[-1] == ("reject",) and panel.ui.previewRow.isHidden()
    logic.pending = Pending(1, 1)
    panel.correct.accept()
    assert panel.ui.undoButton.enabled
    panel.ui.undoButton.click()
    assert panel.ui.redoButton.enabled and not panel.ui.undoButton.enabled


def test_a_quick_hand_is_heard_and_what_was_stopped_takes_later_strokes_along(panel, window, logic):
    panel.refresh()
    panel.ui.pointButton.checked = True
    for x in (100, 150, 200):
        _click(window, x, 100)
    asked = lambda: [call[0] for call in logic.calls].count("prompt")  # noqa: E731
    assert asked() == 1 and panel.ui.messageRow.isHidden()
    logic.task.done(Pending(1, 1))
    assert asked() == 2
    logic.task.error(Failure("Cancelled", ""))
    assert asked() == 2 and not panel.work.busy
    _click(window, 100, 100)
    assert asked() == 3


def test_a_click_that_takes_long_shows_how_far_it_is_and_cancel(panel, window, logic, monkeypatch):
    from DiffSegLib import Work

    panel.refresh()
    panel.ui.pointButton.checked = True
    _click(window, 150, 100)
    logic.task.progress(0.1, "Starting the worker")
    assert panel.ui.progressRow.isHidden()
    monkeypatch.setattr(Work.time, "monotonic", lambda: panel.work._started + 1)
    logic.task.progress(0.2, "Preparing the volume for clicks")
    assert not panel.ui.progressRow.isHidden() and panel.ui.stageLabel.text.startswith("Preparing")


def test_without_a_model_for_clicks_the_inputs_say_so(panel, logic):
    from DiffSegLib import ModelFiles

    panel.inputs.showModels(ModelFiles.segmenting(), [])
    assert not panel.ui.clickModelSelector.enabled and "Setup" in panel.ui.clickModelSelector.currentText
    assert logic.clickModel is None


def test_another_model_for_clicks_is_chosen_by_its_name_and_kept_in_the_scene(panel, logic, scene):
    from dataclasses import replace

    from DiffSegLib import ModelFiles
    from DiffSegLib.Parameters import Parameters

    one, *_ = ModelFiles.segmenting()
    clicking = [replace(one, name=name, title=name.title(), clicks=True) for name in ("first", "second")]
    panel.inputs.showModels([one], clicking)
    assert panel.ui.clickModelSelector.enabled and logic.clickModel is None, "the first is the worker's own choice"
    panel.ui.clickModelSelector.setCurrentIndex(1)
    assert logic.clickModel == "second" == Parameters(scene).clickModel
    panel.inputs.showModels([one], clicking[:1])
    assert logic.clickModel is None


def test_one_prompt_of_several_can_be_removed(panel, logic):
    logic.given = [{"number": 1, "kind": "point", "inside": True}, {"number": 4, "kind": "scribble", "inside": False}]
    panel.refresh()
    assert not panel.ui.removePromptButton.enabled
    panel.ui.promptList.setCurrentRow(1)
    panel.ui.removePromptButton.click()
    assert ("removePrompt", 4) in logic.calls


class Failure(Exception):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def test_an_error_says_what_to_do_and_the_report_names_no_patient(panel, window, withVolume, logic):
    withVolume.SetName("Doe, Jane")
    panel.ui.segmentButton.click()
    logic.task.error(Failure("OutOfMemory", "There was not enough memory; choose the device cpu."))
    assert panel.ui.messageLabel.text == "There was not enough memory; choose the device cpu."
    panel.ui.copyReportButton.click()
    assert "6 x 5 x 4" in window.copied and "5.12.0" in window.copied and "Doe" not in window.copied
    panel.ui.dismissButton.click()
    assert panel.ui.messageRow.isHidden()


def test_a_second_request_is_told_to_wait(panel, withVolume, logic):
    panel.ui.segmentButton.click()
    assert not panel.work.run(lambda *calls: None, lambda result: None)
    assert "busy" in panel.ui.messageLabel.text


def test_nothing_is_exported_without_a_folder_or_a_format(panel, logic, tmp_path):
    panel.refresh()
    panel.ui.measureButton.collapsed = False
    panel.ui.exportButton.click()
    assert "folder" in panel.ui.messageLabel.text
    panel.ui.folderEdit.currentPath = str(tmp_path)
    panel.ui.niftiBox.checked = True
    panel.ui.exportButton.click()
    assert logic.calls[-1] == ("export", str(tmp_path), ("seg.nrrd", "nii.gz"))


def test_keys_work_only_while_the_module_is_open_and_no_text_field_has_the_focus(panel, window):
    import qt

    panel.shortcuts.start()
    assert all(shortcut.enabled for shortcut, _ in panel.shortcuts._shortcuts)
    window.emit("focusChanged(QWidget*,QWidget*)", None, qt.QLineEdit())
    assert not any(shortcut.enabled for shortcut, _ in panel.shortcuts._shortcuts)
    window.emit("focusChanged(QWidget*,QWidget*)", None, qt.QPushButton())
    assert all(shortcut.enabled for shortcut, _ in panel.shortcuts._shortcuts)
    panel.exit()
    assert not panel.shortcuts._shortcuts and not window.connections


def test_closing_the_scene_leaves_an_empty_window(panel, withVolume, scene):
    scene.Clear()
    assert panel.inputs.volume is None
    assert not panel.ui.segmentButton.enabled


def test_a_segment_that_someone_else_adds_is_listed(panel, scene, logic):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    panel.ui.segmentationSelector.setCurrentNode(node)
    logic.rows.append(Row("c", "Mine", (1.0, 0, 0), 2.0))
    node.GetSegmentation().AddEmptySegment("c", "Mine")
    assert panel.ui.organTable.rowCount == 3


def test_twenty_times_set_up_and_cleaned_up_leave_nothing(window, frame, scene, logic):
    from DiffSegLib.Widget import Widget
    from standin import application, pythonqt

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    observers = _observers(scene, volume)
    for _ in range(20):
        panel = Widget(frame.layout(), str(_uiFile()), FakeLogic(list(logic.rows)))
        panel.enter()
        panel.ui.pointButton.checked = True
        panel.exit()
        panel.close()
        assert panel.logic.closed
    assert not pythonqt.CONNECTIONS and not window.connections and not window.layoutManager().slots and not application.leftovers()
    assert _observers(scene, volume) == observers


def _observers(*objects: Any) -> list[str]:
    """Their observers, as VTK prints them."""
    return [line for each in objects for line in str(each).splitlines() if "Observer" in line or "Event:" in line]
