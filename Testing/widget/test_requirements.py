"""Setup: what is there, what is missing or broken, and installing it without surprises."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from conftest import EXTENSION


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, first on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def put(site: Path, name: str, version: str, *, files: tuple[str, ...] = ("__init__.py",), lost: tuple[str, ...] = ()) -> None:
    """A package as pip leaves it; `lost` are files that its record names and that are not there."""
    (site / name).mkdir()
    for file in files:
        (site / name / file).write_text("")
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{name}/{file},,\n" for file in (*files, *lost)))


@pytest.fixture
def check(window: Any) -> Any:
    from DiffSegLib.PackageCheck import check

    return check


def test_a_package_is_found_missing_too_old_or_broken(check, site):
    put(site, "whole", "2.6.0")
    put(site, "half", "2.6.0", lost=("lib/torch_cpu.so",))
    put(site, "gone", "2.6.0", files=())
    (site / "gone").rmdir()
    (site / "remains").mkdir()
    states = {name: check(name + ">=2.4")["state"] for name in ("whole", "half", "gone", "remains", "absent")}
    assert states == {"whole": "found", "half": "broken", "gone": "broken", "remains": "broken", "absent": "missing"}
    assert check("whole>=3")["state"] == check("whole<2")["state"] == "unfit"
    assert "torch_cpu.so" in check("half>=2")["detail"]


def test_a_slicer_whose_own_python_is_too_old_is_told_apart_from_missing_packages(window, monkeypatch):
    from DiffSegLib import Requirements

    monkeypatch.setattr(Requirements.sys, "version_info", (3, 9, 10, "final", 0))
    with pytest.raises(Requirements.SetupError, match="update to Slicer 5.10"):
        Requirements.check()
    assert Requirements.check(sys.executable), "another Python can be chosen all the same"


def test_tests_that_slicer_does_not_ship_are_no_loss(check, site):
    put(site, "trimmed", "2.6.0", lost=("test/__init__.py", "core/test/data.so"))
    assert check("trimmed>=2.4")["state"] == "found"


@pytest.mark.parametrize("version, wanted, fits", [
    ("2.10.1", ">=2.4", True), ("1.6", ">=1.5,<1.7", True), ("1.7.0", ">=1.5,<1.7", False), ("2.13.0+cpu", "==2.13", True), ("3.0rc1", ">=3", True)])
def test_versions_are_compared_by_their_numbers(window, version, wanted, fits):
    from DiffSegLib.PackageCheck import satisfies

    assert satisfies(version, wanted) is fits


def test_another_python_is_asked_and_one_that_does_not_answer_is_named(window, tmp_path):
    from DiffSegLib import Requirements

    assert {each.name: each.state for each in Requirements.check(sys.executable)}["torch"] == "found"
    with pytest.raises(Requirements.SetupError, match="no-python is no Python that answers"):
        Requirements.check(str(tmp_path / "no-python"))


def missing(*names: str) -> tuple[Any, ...]:
    from DiffSegLib.Requirements import Requirement

    return tuple(Requirement(name, ">=1", "missing", "", "") for name in names)


@pytest.fixture
def installed(window: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Slicer was asked to install; questions are answered with OK."""
    import slicer

    asked: list[Any] = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or True)
    monkeypatch.setattr(slicer.util, "WaitCursor", contextlib.nullcontext)
    for name in ("slicer.packaging", "slicer.pydeps"):
        monkeypatch.setitem(sys.modules, name, None)
    return asked


def test_pytorch_comes_from_its_extension_only(installed):
    from DiffSegLib.Requirements import SetupError, install

    with pytest.raises(SetupError, match="Extensions Manager"):
        install(missing("torch"))
    assert not installed


def test_pytorch_is_asked_for_in_the_versions_that_work_and_half_a_torch_is_noticed(installed, monkeypatch):
    from DiffSegLib.Requirements import SetupError, install

    class Logic:
        def installTorch(self, **options: Any) -> Any:
            installed.append(options)
            return types.ModuleType("torch")

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    with pytest.raises(SetupError, match="half installed"):
        install(missing("torch"))
    assert installed == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4"}]


@pytest.mark.parametrize("name", ["slicer.packaging", "slicer.pydeps"])
def test_slicers_own_installer_is_used_where_it_exists(installed, monkeypatch, name):
    from DiffSegLib.Requirements import install

    ensured: list[Any] = []
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(
        pip_ensure=lambda requirements, requester: ensured.append(([str(each) for each in requirements], requester))))
    install(missing("monai", "tqdm"))
    assert ensured == [(["monai>=1", "tqdm>=1"], "DiffSeg")] and not installed


def test_without_it_the_user_is_asked_and_numpy_stays(installed):
    import numpy
    from DiffSegLib.Requirements import install

    install(missing("monai"))
    assert "monai>=1" in installed[0]
    assert installed[1] == ["monai>=1", f"numpy=={numpy.__version__}"]


def test_pip_failing_becomes_a_sentence_with_a_way_out(installed, monkeypatch):
    import slicer
    from DiffSegLib.Requirements import SetupError, install

    def fail(_: Any) -> None:
        raise RuntimeError("long output\nNo matching distribution")

    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(SetupError, match="No matching distribution.*offline folder"):
        install(missing("monai"))


def test_an_offline_folder_is_verified_and_the_internet_left_alone(installed, tmp_path):
    from DiffSegLib.Requirements import SetupError, install

    with pytest.raises(SetupError, match="SHA256SUMS"):
        install(missing("torch"), str(tmp_path))
    wheel = tmp_path / "torch-2.6-any.whl"
    wheel.write_bytes(b"wheel")
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(b'wheel').hexdigest()}  {wheel.name}\n")
    install(missing("torch"), str(tmp_path))
    assert installed[-1][:4] == ["--no-index", "--find-links", str(tmp_path), "torch>=1"]
    wheel.write_bytes(b"whee1")
    with pytest.raises(SetupError, match="damaged"):
        install(missing("torch"), str(tmp_path))
    wheel.unlink()
    with pytest.raises(SetupError, match="missing from"):
        install(missing("torch"), str(tmp_path))


def test_what_must_be_fetched_is_said_for_every_requirement(window):
    from DiffSegLib import Requirements

    for each in Requirements.wanted():
        assert Requirements.Requirement(each.split(">")[0], "", "missing", "", "").toFetch


def test_models_are_listed_added_and_deleted_without_pytorch(window, tmp_path, monkeypatch):
    from DiffSegLib import ModelFiles

    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path / "mine"))
    bundled = next(model for model in ModelFiles.models() if model.name == "head-neck-ct")
    assert bundled.modality == "CT" and "larynx" in bundled.organs and len(bundled.sha256) == 64
    copy = tmp_path / "my-model.safetensors"
    copy.write_bytes(bundled.path.read_bytes())
    ModelFiles.add(copy)
    mine = next(model for model in ModelFiles.models() if model.name == "my-model")
    ModelFiles.delete(mine)
    assert "my-model" not in [model.name for model in ModelFiles.models()]
    with pytest.raises(ValueError, match="ships with"):
        ModelFiles.delete(bundled)
    copy.write_bytes(b"no model")
    with pytest.raises(ValueError, match="not a model"):
        ModelFiles.add(copy)




def test_another_tools_model_is_listed_by_its_name_and_deleted_without_its_weights(window, tmp_path, monkeypatch):
    from DiffSegLib import ModelFiles
    from DiffSegCore.foreign_file import SUFFIX, ForeignModel, write_foreign

    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path))
    weights = tmp_path / "net.pt"
    weights.write_bytes(b"weights")
    write_foreign(ForeignModel("theirs", "nnunet", str(tmp_path), {"net.pt": "0"}, ("liver",), (1,), {"modality": "CT"}, bytes=2_000_000),
                  tmp_path / ("theirs" + SUFFIX))
    (tmp_path / ("broken" + SUFFIX)).write_text("{")
    model = ModelFiles.segmenting()[-1]
    assert (model.name, model.title, model.modality, model.megabytes, model.clicks) == ("theirs", "theirs (nnU-Net)", "CT", 2.0, False)
    ModelFiles.delete(model)
    assert weights.is_file() and "theirs" not in [each.name for each in ModelFiles.models()]


def test_a_chosen_python_is_kept_and_the_next_worker_runs_there(window, frame):
    from DiffSegLib import WorkerPython
    from DiffSegLib.Widget import Widget
    from fakes import FakeLogic

    panel = Widget(frame.layout(), str(EXTENSION / "Resources/UI/DiffSeg.ui"), FakeLogic())
    panel.ui.pythonEdit.currentPath = sys.executable[:-3]
    assert WorkerPython.chosen() == "", "a path that is still being typed is no choice"
    panel.ui.pythonEdit.currentPath = sys.executable
    assert WorkerPython.chosen() == sys.executable == WorkerPython.command()[0]
    assert panel.logic.calls[-1] == ("useWorker", sys.executable)
    assert not panel.ui.installButton.enabled, "what another Python lacks is installed there"
    panel.close()


def test_slicers_own_worker_runs_in_the_interpreter_behind_the_launcher(window, tmp_path, monkeypatch):
    from DiffSegLib import WorkerPython

    launcher, real = tmp_path / "PythonSlicer", tmp_path / "python-real"
    for file in (launcher, real):
        file.write_text("")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "")
    assert WorkerPython.command()[0] == str(real), "killing the launcher would leave the worker behind"
    real.unlink()
    assert WorkerPython.command()[0] == str(launcher), "a build of Slicer has no such file"
