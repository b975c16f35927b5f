"""Who may import whom. A file imports what lies on floors below it; on its own floor, nothing that leads back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

CORE = Path(__file__).resolve().parents[2] / "DiffSegCore"
FLOORS = (
    {"errors", "progress", "files", "geometry", "organs", "resources"},
    {"volume", "itk", "dicom", "segnrrd", "reading", "writing", "organ_volumes", "stl", "dicomseg"},
    {"linear", "resample", "upsample", "preprocess", "windows", "suitability", "laterality", "pieces", "regions",
     "prompts", "marks", "prompt_maps", "geodesic", "seeding", "decision", "crops", "draft", "zoom", "volume_ranges"},
    {"data", "diffusion"},
    {"networks"},
    {"foreign_file", "packing", "model", "registry", "catalogue", "downloading", "installing", "refiner_card"},
    {"refining", "refined_labels", "click_refining"},
    {"segmenter"},
    {"coordinates", "alignment", "features", "choosing"},
    {"foreign"},
    {"segmentors"},
    {"metrics", "evaluation", "pictures3d", "pictures", "pictures_body", "pictures_clicks", "export", "training",
     "looking", "turn", "clicking", "timeline", "next_place", "session_file", "session",
     "confidence", "measuring", "input_check"},
    {"demo", "plain_values", "engine", "service", "batch", "click_evaluation"},
    {"cli", "__main__"},
)
STRANGERS = ({"data", "diffusion"}, {"training", "session"})
NOT_FOR_NETWORKS = {"files", "volume", "reading", "writing", "dicom", "itk", "segnrrd", "data", "diffusion"}
BANNED = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "torchvision"}  # Slicer's own, and torchvision, which crashes it

FILES = sorted(CORE.rglob("*.py"))
FLOOR = {part: number for number, floor in enumerate(FLOORS) for part in floor}


def part_of(path: Path) -> str:
    """The part a file belongs to: `geometry` for geometry.py, `data` for data/cases.py."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, also inside functions: "DiffSegCore.data.cases", "numpy"."""
    package = ("DiffSegCore", *path.relative_to(CORE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "DiffSegCore" and len(name) > 1 and name[1] in FLOOR}


@pytest.fixture(params=[path for path in FILES if part_of(path) != "__init__"], ids=lambda path: str(path.relative_to(CORE)))
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_file_has_a_floor(file):
    assert part_of(file) in FLOOR, f"say in FLOORS where {part_of(file)} lives"


def test_a_file_imports_nothing_from_above(file):
    above = {part for part in parts_imported(file) if FLOOR[part] > FLOOR[part_of(file)]}
    assert not above


def test_imports_never_lead_in_a_circle():
    below: dict[str, set[str]] = {}
    for path in FILES:
        if part_of(path) != "__init__":
            below.setdefault(part_of(path), set()).update(parts_imported(path) - {part_of(path)})
    while below:
        ends = {part for part, others in below.items() if not others & below.keys()}
        assert ends, f"these lead in a circle: {sorted(below)}"
        below = {part: others for part, others in below.items() if part not in ends}


@pytest.mark.parametrize("pair", STRANGERS, ids=" and ".join)
def test_strangers_do_not_know_each_other(pair):
    for path in FILES:
        if part_of(path) in pair:
            assert not parts_imported(path) & (pair - {part_of(path)}), path


def test_networks_know_no_file_no_volume_and_no_diffusion():
    for path in FILES:
        if part_of(path) == "networks":
            assert not parts_imported(path) & NOT_FOR_NETWORKS, path


def test_the_core_runs_without_slicer_and_never_touches_torchvision(file):
    allowed = {"vtkmodules"} if part_of(file) == "stl" else set()  # the one that makes surfaces
    assert not {name.split(".")[0] for name in imports(file)} & (BANNED - allowed)


def test_only_the_command_line_prints(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [each for each in tree.body if "__main__" not in ast.unparse(each)]  # what a file does when run itself
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in names or part_of(file) == "cli"


def test_the_front_door_opens_without_loading_anything_heavy():
    code = "import sys, DiffSegCore, DiffSegCore.cli; print([m for m in ('torch', 'monai', 'SimpleITK', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CORE.parent, check=True).stdout.strip() == "[]"
