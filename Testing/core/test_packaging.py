"""What a user installs is whole: every module, the organ table, models and sample, and the command."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import DiffSegCore
from DiffSegCore.resources import resource

ROOT = Path(__file__).resolve().parents[2]
METADATA = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_has_every_module_the_organ_table_and_what_is_bundled(wheel):
    content = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "DiffSegCore").rglob("*.py")}
    bundled = {f"DiffSegCore/bundled/{folder}/{path.name}" for folder in ("Models", "Sample") for path in (ROOT / "Resources" / folder).iterdir()}
    assert modules | bundled | {"DiffSegCore/organs.csv"} <= content
    assert not [name for name in content if name.startswith(("Testing", "Resources"))]


def test_from_a_wheel_the_sample_is_found_where_the_package_lies(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from DiffSegCore.resources import resource; print(resource('Sample', 'sample_ct.nii.gz'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == (tmp_path / "DiffSegCore/bundled/Sample/sample_ct.nii.gz").resolve()
    assert Path(done.stdout.strip()).is_file()


def test_in_a_checkout_the_sample_lies_in_resources():
    assert resource("Sample", "sample_ct.nii.gz") == ROOT / "Resources/Sample/sample_ct.nii.gz"
    assert resource("Sample", "sample_labels.nii.gz").is_file()


def test_the_wheel_installs_the_command(wheel):
    archive = zipfile.ZipFile(wheel)
    entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "diffseg = DiffSegCore.cli:main" in archive.read(entry_points).decode()


def test_the_version_is_said_once():
    assert re.search(r'^version = "(.+)"$', METADATA, re.MULTILINE)[1] == DiffSegCore.__version__


def test_every_package_we_ask_for_has_a_tested_version():
    asked = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)(?:>=|==|<)', METADATA)}
    untested = {"slicer-core", "pyside6-essentials"}  # the Slicer module is to come
    tested = {line.split("==")[0].lower() for line in CONSTRAINTS.splitlines() if "==" in line}
    assert asked - untested <= tested
