"""What cannot be segmented is refused with one sentence that names it, exit code 2, and nothing half-written."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from toys import toy_ct, toy_model

from DiffSegCore.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_model(tmp_path_factory.mktemp("model") / "toy.safetensors")


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def refusal(capfd, *line: object) -> str:
    """Run a command that has to be refused; the sentence it prints."""
    assert main([str(word) for word in line]) == 2
    said, error = capfd.readouterr()
    assert said == "" and "Traceback" not in error
    assert error.startswith("diffseg: ") and error.count("\n") == 1, error
    return error


def nifti(array: np.ndarray, affine: np.ndarray | None = None) -> nib.Nifti1Image:
    return nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine)


def missing(folder: Path) -> Path:
    return folder / "missing.nii.gz"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def text(folder: Path) -> Path:
    path = folder / "text.nii.gz"
    path.write_text("this is no image\n")
    return path


def truncated(folder: Path) -> Path:
    path = folder / "truncated.nii.gz"
    nib.save(nifti(np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def flat_png(folder: Path) -> Path:
    path = folder / "flat.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 9), np.uint8)), str(path))
    return path


def series_4d(folder: Path) -> Path:
    path = folder / "perfusion.nii.gz"
    nib.save(nifti(np.zeros((6, 6, 6, 3), np.int16), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


def coloured(folder: Path) -> Path:
    path = folder / "coloured.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 6, 6, 3), np.uint8), isVector=True), str(path))
    return path


def with_voxel(value: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        array = np.zeros((6, 6, 6), np.float32)
        array[3, 2, 1] = value
        path = folder / f"holds_{value}.nii.gz"
        nib.save(nifti(array), path)
        return path

    return make


def with_header(name: str, edit: Callable[[bytearray], None]) -> Callable[[Path], Path]:
    """A NIfTI file whose header is edited where libraries would not let us."""

    def make(folder: Path) -> Path:
        plain = folder / "plain.nii"
        nib.save(nifti(np.zeros((6, 6, 6), np.int16)), plain)
        content = bytearray(plain.read_bytes())
        edit(content)
        path = folder / f"{name}.nii.gz"
        path.write_bytes(gzip.compress(bytes(content)))
        return path

    return make


def zero_spacing(header: bytearray) -> None:
    header[76:108] = np.array([1, 0, 0, 0, 0, 0, 0, 0], "<f4").tobytes()  # pixdim
    header[280:328] = bytes(48)  # srow


def one_plane(header: bytearray) -> None:
    header[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    header[280:328] = np.array([[2, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0]], "<f4").tobytes()


def no_voxels(header: bytearray) -> None:
    header[40:56] = np.array([3, 6, 6, 0, 1, 1, 1, 1], "<i2").tobytes()  # dim


def one_voxel(folder: Path) -> Path:
    path = folder / "one.nii.gz"
    nib.save(nifti(np.zeros((1, 1, 1), np.int16)), path)
    return path


BAD_FILES = {
    "missing file": (missing, "missing.nii.gz"),
    "empty folder": (empty_folder, "empty"),
    "text named .nii.gz": (text, "text.nii.gz"),
    "truncated .nii.gz": (truncated, "truncated.nii.gz"),
    "2D PNG": (flat_png, "flat.png"),
    "4D series": (series_4d, "perfusion.nii.gz"),
    "RGB volume": (coloured, "coloured.nrrd"),
    "NaN voxel": (with_voxel(np.nan), "NaN"),
    "infinite voxel": (with_voxel(np.inf), "infinit"),
    "zero spacing": (with_header("flat_spacing", zero_spacing), "spacing"),
    "singular direction": (with_header("plane", one_plane), "plane.nii.gz"),
    "empty volume": (with_header("empty", no_voxels), "empty.nii.gz"),
    "one voxel": (one_voxel, "one.nii.gz"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_volume_that_cannot_be_used(kind, tmp_path, out, model, capfd):
    make, named = BAD_FILES[kind]
    path = make(tmp_path)
    error = refusal(capfd, "segment", path, "-o", out / "organs.seg.nrrd", "--model", model)
    assert named in error and str(path) in error
    assert not list(out.iterdir())


def test_an_unknown_model_lists_the_known_ones(tmp_path, out, model, monkeypatch, capfd):
    monkeypatch.setenv("DIFFSEG_MODELS", str(model.parent))
    error = refusal(capfd, "segment", toy_ct(tmp_path / "ct.nii.gz"), "-o", out / "o.nrrd", "--model", "hed-neck")
    assert "'hed-neck'" in error and "toy" in error and not list(out.iterdir())


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.999])
def test_one_flipped_byte_in_the_weights(tmp_path, out, model, where, capfd):
    content = bytearray(model.read_bytes())
    content[int(where * (len(content) - 1))] ^= 0x10
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    error = refusal(capfd, "segment", toy_ct(tmp_path / "ct.nii.gz"), "-o", out / "o.nrrd", "--model", damaged)
    assert str(damaged) in error and not list(out.iterdir())


@pytest.mark.parametrize("place", ["a_file/organs.seg.nrrd", "no_such_folder/organs.seg.nrrd", "out", "out/organs.docx"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, out, place, capfd, monkeypatch):
    import DiffSegCore.reading

    monkeypatch.setattr(DiffSegCore.reading, "read_volume", lambda *_, **__: pytest.fail("the slow work had begun"))
    (tmp_path / "a_file").write_text("")
    (out / "ct.seg.nrrd").mkdir()  # where the folder "out" would get its labels
    error = refusal(capfd, "segment", toy_ct(tmp_path / "ct.nii.gz"), "-o", tmp_path / place)
    assert "Cannot write" in error and place in error


@pytest.fixture
def read_only(tmp_path):
    """A folder that even root cannot write to, or a skip where mounting is not allowed."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], capture_output=True).returncode:
        pytest.skip("root may write everywhere and may not mount here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_folder(tmp_path, read_only, model, capfd):
    error = refusal(capfd, "segment", toy_ct(tmp_path / "ct.nii.gz"), "-o", read_only / "o.seg.nrrd", "--model", model)
    assert str(read_only / "o.seg.nrrd") in error


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz", ".nrrd", ".mha"])
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, out, model, suffix):
    """The limit on file size stands in for the disk: writing stops in the middle of the file."""
    ct = toy_ct(tmp_path / "ct.nii.gz")
    before = out / f"organs{suffix}"
    before.write_bytes(b"yesterday's labels")
    line = [sys.executable, "-m", "DiffSegCore", "segment", str(ct), "-o", str(before), "--model", str(model), "--device", "cpu"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 2, done.stderr
    assert str(before) in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in out.iterdir()] == [before.name] and before.read_bytes() == b"yesterday's labels"


def test_the_input_stays_as_it_was_when_a_model_is_missing(tmp_path, out, capfd):
    ct = toy_ct(tmp_path / "ct.nii.gz")
    before = ct.read_bytes()
    refusal(capfd, "segment", ct, "-o", out / "o.nrrd", "--model", tmp_path / "gone.safetensors")
    assert ct.read_bytes() == before and not list(out.iterdir())


def test_evaluate_names_the_file_that_is_not_there(tmp_path, capfd):
    assert "gone.nii.gz" in refusal(capfd, "evaluate", tmp_path / "gone.nii.gz", tmp_path / "gone.nii.gz")


def test_demo_refuses_a_folder_that_cannot_be_made(tmp_path, capfd):
    (tmp_path / "a_file").write_text("")
    assert "a_file/demo" in refusal(capfd, "demo", "--out", tmp_path / "a_file" / "demo")


def test_training_on_nothing_says_so(tmp_path, capfd):
    error = refusal(capfd, "train", "head", "--recipe", "quick", "--data", tmp_path / "no_data", "-o", tmp_path / "run")
    assert "no_data" in error
