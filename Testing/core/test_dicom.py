from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from DiffSegCore import read_volume
from DiffSegCore.dicom import list_series
from DiffSegCore.errors import BadInput

ROW, COLUMN = np.array([0.96, 0.28, 0.0]), np.array([-0.28, 0.96, 0.0])  # LPS, turned about S


def write_slice(path, z, *, uid="1.2.3", value=None, place=None, **changes):
    """A 3x4 CT slice at `z` mm; stored voxels are `value`, by default 100 z."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID, one.StudyInstanceUID, one.FrameOfReferenceUID = uid, "1.2", "1.4"
    one.Modality, one.SeriesDescription, one.ImageType = "CT", f"series {uid}", ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 3, 4, 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.RescaleSlope, one.RescaleIntercept = 1, -1024
    one.PixelSpacing, one.SliceThickness = [2.0, 0.5], 3.0
    one.ImageOrientationPatient, one.ImagePositionPatient = [*ROW, *COLUMN], list(place or (10.0, 20.0, z))
    one.PixelData = np.full((3, 4), 100 * z if value is None else value, np.int16).tobytes()
    for tag, content in changes.items():
        setattr(one, tag, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)


@pytest.fixture
def series(tmp_path):
    """Slices at 0, 3, 6, 9 mm, in files that do not sort that way, one of them in a folder below."""
    for name, z in (("d.dcm", 0), ("a", 3), ("c.dcm", 6), ("below/b.dcm", 9)):
        write_slice(tmp_path / name, z)
    (tmp_path / "notes.txt").write_text("not DICOM")
    return tmp_path


def test_slices_are_stacked_by_position_and_rescaled(series):
    volume = read_volume(series)
    assert volume.modality == "CT" and volume.array.shape == (4, 3, 4)
    np.testing.assert_array_equal(volume.array[:, 1, 2], np.array([0, 300, 600, 900]) - 1024)


def test_a_series_lies_where_dicom_says(series):
    geometry = read_volume(series).geometry
    np.testing.assert_allclose(geometry.spacing, (3.0, 2.0, 0.5))
    lps = np.array([10, 20, 0]) + 3 * 0.5 * ROW + 2 * 2.0 * COLUMN + 2 * 3.0 * np.array([0, 0, 1])  # C.7.6.2.1.1
    np.testing.assert_allclose(geometry.to_ras((2, 2, 3)), lps * [-1, -1, 1], atol=1e-6)


def test_one_file_stands_for_its_series(series):
    (series / "below" / "b.dcm").unlink()
    np.testing.assert_array_equal(read_volume(series / "a").array, read_volume(series).array)


def test_the_largest_series_is_read_unless_another_is_named(series):
    for n in range(2):
        write_slice(series / f"small{n}.dcm", n, uid="1.2.9", value=n)
    assert [(each.uid, len(each.files)) for each in list_series(series)] == [("1.2.3", 4), ("1.2.9", 2)]
    assert read_volume(series).array.shape[0] == 4
    assert read_volume(series, series="1.2.9").array.shape[0] == 2
    with pytest.raises(BadInput, match=r"no series 5\.5.*1\.2\.3 \(CT, 4 images.*1\.2\.9 \(CT, 2 images"):
        read_volume(series, series="5.5")


def test_a_copy_of_a_slice_does_not_count(series):
    (series / "copy.dcm").write_bytes((series / "a").read_bytes())
    assert read_volume(series).array.shape[0] == 4


def test_fractional_rescale_makes_floats_from_every_slice(tmp_path):
    for z, slope in ((0, 1), (3, 0.5), (6, 0.25)):
        write_slice(tmp_path / f"{z}", z, value=3, RescaleSlope=slope, RescaleIntercept=0)
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[:, 0, 0], [3, 1.5, 0.75])


def test_scouts_screenshots_and_segmentations_are_not_part_of_the_series(series):
    write_slice(series / "scout.dcm", 50, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_slice(series / "picture.dcm", 51, SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=bytes(36), BitsAllocated=8)
    write_slice(series / "seg.dcm", 52, uid="1.2.8", Modality="SEG", NumberOfFrames=2, PixelData=bytes(48))
    assert read_volume(series).array.shape[0] == 4


def test_one_slice_is_as_thick_as_it_says(tmp_path):
    write_slice(tmp_path / "one.dcm", 5)
    assert read_volume(tmp_path).geometry.spacing == pytest.approx((3.0, 2.0, 0.5))


@pytest.mark.parametrize("changes", [{"SeriesInstanceUID": None}, {"ImagePositionPatient": None}, {"Rows": None}])
def test_a_slice_that_lacks_what_it_takes_is_left_out(series, changes):
    write_slice(series / "e.dcm", 12, **changes)
    assert read_volume(series).array.shape[0] == 4


def test_a_number_that_is_none_is_a_broken_header(series, caplog):
    write_slice(series / "e.dcm", 12)
    content = (series / "e.dcm").read_bytes()
    assert b"-1024" in content
    (series / "e.dcm").write_bytes(content.replace(b"-1024", b"minus"))
    assert read_volume(series).array.shape[0] == 4 and "e.dcm" in caplog.text


def test_compressed_slices_are_decoded(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 3000, (3, 64, 64)).astype(np.int16)
    for k, plane in enumerate(voxels):
        write_slice(tmp_path / f"{k}.dcm", k, Rows=64, Columns=64, PixelData=plane.tobytes())
        one = pydicom.dcmread(tmp_path / f"{k}.dcm")
        one.compress(pydicom.uid.RLELossless)
        one.save_as(tmp_path / f"{k}.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path).array, voxels - 1024)


def spoil_missing(folder):
    (folder / "c.dcm").unlink()


def spoil_twice(folder):
    write_slice(folder / "again.dcm", 3, value=7)


def spoil_size(folder):
    write_slice(folder / "c.dcm", 6, PixelSpacing=[1.0, 0.5])


def spoil_orientation(folder):
    write_slice(folder / "c.dcm", 6, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])


def spoil_tilt(folder):
    for name, z in (("d.dcm", 0), ("a", 3), ("c.dcm", 6), ("below/b.dcm", 9)):
        write_slice(folder / name, z, place=(10.0, 20.0 + 0.3 * z, float(z)))


def spoil_spacing(folder):
    for name, z in (("d.dcm", 0), ("a", 3), ("c.dcm", 6), ("below/b.dcm", 9)):
        write_slice(folder / name, z, PixelSpacing=[0.0, 0.5])


def spoil_pixels(folder):
    content = (folder / "c.dcm").read_bytes()
    (folder / "c.dcm").write_bytes(content[:-12])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_missing, r"unevenly spaced: 6\.00 mm between a and b\.dcm, 3\.00 mm elsewhere"),
        (spoil_twice, "5 images at 4 places"),
        (spoil_size, "differ in size"),
        (spoil_orientation, "not parallel"),
        (spoil_tilt, "16.7 degrees.*gantry tilt"),
        (spoil_spacing, "spacing.*zero"),
        (spoil_pixels, "cannot be decoded"),
    ],
)
def test_a_series_that_makes_no_grid_is_refused(series, spoil, words, capfd):
    spoil(series)
    with pytest.raises(BadInput, match=words) as refusal:
        read_volume(series)
    assert str(series) in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_a_multi_frame_file_is_refused_with_the_way_out(tmp_path):
    write_slice(tmp_path / "enhanced.dcm", 0, NumberOfFrames=2, PixelData=bytes(48))
    with pytest.raises(BadInput, match="none of its 1 files.*3D Slicer.*multi-frame"):
        read_volume(tmp_path)
    with pytest.raises(BadInput, match="not one slice"):
        read_volume(tmp_path / "enhanced.dcm")


def test_a_folder_without_images_says_what_it_has(tmp_path):
    with pytest.raises(BadInput, match="folder is empty"):
        read_volume(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match="none of its 1 files"):
        list_series(tmp_path)
    with pytest.raises(BadInput, match="nowhere.*no such folder"):
        list_series(tmp_path / "nowhere")


def test_the_real_head_series_agrees_with_pydicom_and_itk(shared_data):
    folder = shared_data / "tests_small" / "cthead_dicom"
    volume = read_volume(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    assert volume.modality == "CT" and volume.array.shape == (93, 64, 64)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    for k, name in ((0, names[0]), (40, names[40]), (92, names[92])):
        one = pydicom.dcmread(name)
        np.testing.assert_allclose(volume.geometry.to_ras((k, 0, 0)) * [-1, -1, 1], one.ImagePositionPatient, atol=1e-3)
        np.testing.assert_array_equal(volume.array[k], one.pixel_array)
