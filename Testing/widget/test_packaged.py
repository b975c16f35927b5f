"""What Slicer's build system installs is what the tree has, and the module opens quickly without PyTorch."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "DiffSegExtension"
ALLOWED = {"qt", "ctk", "slicer", "vtk", "numpy", "DiffSegCore", "DiffSegLib"} | sys.stdlib_module_names

# Slicer's macros, as far as they decide which files are installed: SlicerMacroBuildScriptedModule and ctkMacroCompilePythonScript.
SLICER_CONFIG = """
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
foreach(name USE_FILE EXTENSION_GENERATE_CONFIG EXTENSION_CPACK)
  set(Slicer_${name} ${CMAKE_CURRENT_LIST_DIR}/Empty.cmake)
endforeach()
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${ARGN})
  if(NOT MY_SOURCE_DIR)
    set(MY_SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  endif()
  foreach(file IN LISTS MY_SCRIPTS)
    configure_file(${MY_SOURCE_DIR}/${file} ${MY_DESTINATION_DIR}/${file} COPYONLY)
  endforeach()
  foreach(file IN LISTS MY_RESOURCES)
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${file} ${MY_DESTINATION_DIR}/${file} COPYONLY)
  endforeach()
  install(DIRECTORY ${MY_DESTINATION_DIR}/ DESTINATION ${MY_INSTALL_DIR})
endfunction()
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  ctkMacroCompilePythonScript(TARGET_NAME ${MY_NAME} SCRIPTS "${MY_SCRIPTS}" RESOURCES "${MY_RESOURCES}"
    DESTINATION_DIR ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}
    INSTALL_DIR ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR} NO_INSTALL_SUBDIR)
endfunction()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripted modules that an installation has."""
    if shutil.which("cmake") is None:
        pytest.skip("no cmake here")
    folder = tmp_path_factory.mktemp("slicer")
    (folder / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (folder / "Empty.cmake").write_text("")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=lambda path, names: {name for name in names if name in (".git", ".venv", "__pycache__", "demo", "runs")})
    # Slicer's own build has compilers; copying files needs none.
    top = source / "CMakeLists.txt"
    top.write_text(top.read_text().replace("project(DiffSeg)", "project(DiffSeg LANGUAGES NONE)"))
    subprocess.run(["cmake", "-S", source, "-B", folder / "build", f"-DSlicer_DIR={folder}"], check=True, capture_output=True)
    subprocess.run(["cmake", "--install", folder / "build", "--prefix", folder / "out"], check=True, capture_output=True)
    return folder / "out/lib/qt-scripted-modules"


def tree(root: Path, *patterns: str) -> set[str]:
    return {str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts}


def test_the_installation_has_every_file_of_the_tree_and_no_other(installed):
    module = tree(EXTENSION, "*.py", "DiffSegLib/**/*.py", "Resources/**/*")
    core = tree(ROOT, "DiffSegCore/**/*.py", "DiffSegCore/**/*.csv", "Resources/Models/*", "Resources/Sample/*", "Resources/*.json")
    assert tree(installed, "**/*") == module | core


def test_installed_the_core_and_its_sample_are_found_beside_the_module(installed):
    code = ("from DiffSegLib.CorePath import ensureCore; ensureCore(); import DiffSegCore.resources as found;"
            "print(found.__file__, found.resource('Sample', 'sample_ct.nii.gz').is_file())")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=installed, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(installed / "DiffSegCore/resources.py"), "True"]


def test_the_folder_on_the_module_path_holds_one_module():
    assert [path.name for path in EXTENSION.glob("*.py")] == ["DiffSeg.py"]


def test_the_names_that_slicer_compares_agree():
    assert "project(DiffSeg)" in (ROOT / "CMakeLists.txt").read_text()
    assert json.loads((ROOT / "DiffSeg.json").read_text())["category"] == "Segmentation"
    assert "set(MODULE_NAME DiffSeg)" in (EXTENSION / "CMakeLists.txt").read_text()


def test_slicer_installs_what_the_core_asks_for_and_leaves_pytorch_to_its_extension():
    wanted = {line for line in (EXTENSION / "Resources/requirements.txt").read_text().splitlines() if line and line[0] != "#"}
    table = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)[1]
    asked = {name for name in re.findall(r'"(.+?)"', table) if not name.startswith("numpy")}  # Slicer's own NumPy stays
    assert wanted == {name for name in asked if not name.startswith("torch")}


@pytest.mark.parametrize("file", sorted(EXTENSION.rglob("*.py")), ids=lambda path: path.name)
def test_no_third_party_package_is_imported_at_file_scope(file):
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        own = isinstance(node, ast.ImportFrom) and node.level
        names = [] if own else [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in getattr(node, "names", ())]
        assert {name.split(".")[0] for name in names} <= ALLOWED


def test_the_module_is_imported_in_a_second_and_pytorch_is_not():
    """In a fresh process, with what the application has loaded by then: Qt's stand-in, VTK and MRML."""
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT / 'Testing/widget')!r}, {str(EXTENSION)!r}, {str(ROOT)!r}]
import slicer, slicer.util, vtk, numpy
from standin import application
sys.modules.update(application.modules())
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'monai', 'SimpleITK', 'scipy', 'nibabel', 'pydicom'):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
start = time.process_time()
import DiffSeg
import DiffSegLib.Widget, DiffSegLib.Logic
print(time.process_time() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1
