from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import DiffSegCore


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, DiffSegCore; print(sorted({'torch', 'numpy', 'SimpleITK', 'nibabel', 'pydicom', 'monai'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("name", DiffSegCore.__all__)
def test_every_name_at_the_door_opens(name):
    assert getattr(DiffSegCore, name) is not None and name in dir(DiffSegCore)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'open_sesame'"):
        DiffSegCore.open_sesame
