from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from DiffSegCore import read_labels, read_volume
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)  # K, J, I


def itk_image(geometry, array=ARRAY):
    image = sitk.GetImageFromArray(array)
    geometry.stamp(image)
    return image


def nifti(path, array=ARRAY.T, affine=None, **header):
    image = nib.Nifti1Image(array, np.diag([0.7, 0.8, 2.5, 1.0]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_every_format_keeps_voxels_and_pose(tmp_path, awkward, suffix):
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(itk_image(awkward), str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16 and volume.array.flags.c_contiguous and volume.modality == ""
    assert volume.geometry.same_grid(awkward, tolerance_mm=1e-4)  # NIfTI stores single precision


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", ">i2", "u2", "i4", "f4", "f8"])
def test_numbers_keep_their_type_in_the_machines_byte_order(tmp_path, dtype):
    volume = read_volume(nifti(tmp_path / "a.nii.gz", ARRAY.T.astype(dtype)))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=") and volume.array.dtype.isnative


def with_slope(path, slope, intercept):
    content = bytearray(nifti(path).read_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    return read_volume(path).array


def test_slope_and_intercept_are_applied_and_whole_numbers_stay_whole(tmp_path):
    whole = with_slope(tmp_path / "a.nii", 2, -1024)
    np.testing.assert_array_equal(whole, ARRAY.astype(int) * 2 - 1024)
    assert whole.dtype == np.int32
    halves = with_slope(tmp_path / "b.nii", 0.5, 0)
    np.testing.assert_array_equal(halves, ARRAY * 0.5)
    assert halves.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 6), (1, 1, 6), (3, 7, 11)])
def test_thin_and_odd_volumes_are_volumes(tmp_path, shape):
    array = np.ones(shape, np.float32)
    for path in (tmp_path / "a.nii.gz", tmp_path / "a.nrrd", tmp_path / "a.mha"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
        assert read_volume(path).array.shape == shape


def test_a_nifti_slice_without_its_third_axis_is_one_slice_thick(tmp_path):
    assert read_volume(nifti(tmp_path / "a.nii", ARRAY[0].T)).array.shape == (1, 5, 6)


def test_a_fourth_axis_of_one_is_left_out(tmp_path):
    np.testing.assert_array_equal(read_volume(nifti(tmp_path / "a.nii", ARRAY.T[..., None])).array, ARRAY)
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(ARRAY)]), str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").array, ARRAY)


def test_metres_become_millimetres(tmp_path):
    path = nifti(tmp_path / "a.nii", affine=np.diag([0.001, 0.002, 0.003, 1.0]), xyzt_units=1)
    np.testing.assert_allclose(read_volume(path).geometry.spacing, (3, 2, 1), rtol=1e-6)


@pytest.mark.parametrize(("qform", "sform"), [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 4), (4, 3)])
def test_of_two_poses_in_a_nifti_we_take_the_one_that_slicer_shows(tmp_path, qform, sform):
    image = nib.Nifti1Image(ARRAY.T, None)
    for set_pose, x, code in ((image.set_qform, 7, qform), (image.set_sform, 9, sform)):
        pose = np.eye(4)
        pose[0, 3] = x
        set_pose(pose, code)
    nib.save(image, tmp_path / "a.nii")
    theirs = Geometry.from_itk(sitk.ReadImage(str(tmp_path / "a.nii")))
    assert read_volume(tmp_path / "a.nii").geometry.same_grid(theirs)


def test_a_nifti_that_lacks_its_compression_is_read_all_the_same(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(nifti(tmp_path / "b.nii").read_bytes())
    np.testing.assert_array_equal(read_volume(path).array, ARRAY)


def missing(folder):
    return folder / "nowhere.nii.gz"


def empty_file(folder):
    (folder / "a.nrrd").touch()
    return folder / "a.nrrd"


def text_named_nifti(folder):
    (folder / "a.nii.gz").write_text("patient, dose\n" * 100)
    return folder / "a.nii.gz"


def gzipped_text(folder):
    (folder / "a.nii.gz").write_bytes(gzip.compress(b"patient, dose\n" * 100))
    return folder / "a.nii.gz"


def text_named(suffix):
    def make(folder):
        (folder / f"a{suffix}").write_text("patient, dose\n" * 100)
        return folder / f"a{suffix}"

    return make


def cut(suffix, compress=True):
    def make(folder):
        path = folder / f"a{suffix}"
        noise = np.random.default_rng(0).integers(0, 1000, (10, 20, 30)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), compress)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        return path

    return make


def one_bad_byte(folder):
    path = nifti(folder / "a.nii.gz", np.random.default_rng(0).integers(0, 1000, (30, 20, 10)).astype(np.int16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    return path


def png(folder):
    sitk.WriteImage(sitk.Image([6, 5], sitk.sitkUInt8), str(folder / "a.png"))
    return folder / "a.png"


def flat(folder):
    sitk.WriteImage(sitk.Image([6, 5], sitk.sitkUInt8), str(folder / "a.mha"))
    return folder / "a.mha"


def time_series(suffix):
    def make(folder):
        image = sitk.GetImageFromArray(ARRAY)
        sitk.WriteImage(sitk.JoinSeries([image, image]), str(folder / f"a{suffix}"))
        return folder / f"a{suffix}"

    return make


def colours(suffix):
    def make(folder):
        sitk.WriteImage(sitk.Image([6, 5, 4], sitk.sitkVectorUInt8, 3), str(folder / f"a{suffix}"))
        return folder / f"a{suffix}"

    return make


def nifti_rgb(folder):
    return nifti(folder / "a.nii", np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def one_value(value):
    def make(folder):
        array = np.zeros((6, 5, 4), np.float32)
        array[4, 2, 1] = value
        return nifti(folder / "a.nii.gz", array)

    return make


def no_pose(folder):
    path = nifti(folder / "a.nii")
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(content)
    return path


def sheared(suffix):
    def make(folder):
        affine = np.eye(4)
        affine[1, 2] = 0.25
        if suffix == ".nii":
            image = nib.Nifti1Image(np.zeros((20, 20, 20), np.int16), affine)
            image.set_qform(None, 0)
            nib.save(image, folder / "a.nii")
        else:
            image = sitk.Image([20, 20, 20], sitk.sitkInt16)
            image.SetDirection([1, 0, 0, 0, 1, 0.25, 0, 0, 1])
            sitk.WriteImage(image, str(folder / f"a{suffix}"))
        return folder / f"a{suffix}"

    return make


def sform(affine):
    def make(folder):
        image = nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.eye(4))
        image.set_sform(np.array(affine, float), 1)
        nib.save(image, folder / "a.nii")
        return folder / "a.nii"

    return make


def edited(suffix, before, after):
    def make(folder):
        path = folder / f"a{suffix}"
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path), False)
        content = path.read_bytes()
        assert before in content
        path.write_bytes(content.replace(before, after))
        return path

    return make


def single_voxel(folder):
    sitk.WriteImage(sitk.Image([1, 1, 1], sitk.sitkInt16), str(folder / "a.nrrd"))
    return folder / "a.nrrd"


def complex_numbers(folder):
    return nifti(folder / "a.nii", ARRAY.T.astype(np.complex64))


BAD = {
    "missing": (missing, "no such file"),
    "empty file": (empty_file, "empty"),
    "text named .nii.gz": (text_named_nifti, "not NIfTI"),
    "compressed text": (gzipped_text, "not NIfTI"),
    "text named .nrrd": (text_named(".nrrd"), "not what its name says"),
    "text named .mha": (text_named(".mha"), "not what its name says"),
    "text": (text_named(".txt"), r"\.txt is not a volume format"),
    "no suffix": (text_named(""), "no suffix is not a volume format"),
    "cut .nii.gz": (cut(".nii.gz"), "cut short"),
    "cut .nii": (cut(".nii"), "cut short"),
    "cut .nrrd": (cut(".nrrd"), "damaged.*bytes"),
    "cut raw .nrrd": (cut(".nrrd", False), "damaged"),
    "cut .mha": (cut(".mha"), "damaged"),
    "cut raw .mha": (cut(".mha", False), "damaged"),
    "one bad byte": (one_bad_byte, "damaged"),
    "PNG": (png, r"\.png is not a volume format"),
    "2D .mha": (flat, "2D picture of 6 x 5"),
    "4D .nii.gz": (time_series(".nii.gz"), "4D series of 6 x 5 x 4 x 2"),
    "4D .nrrd": (time_series(".nrrd"), "4D series"),
    "colours .mha": (colours(".mha"), "3 values a voxel"),
    "vectors .nii": (colours(".nii"), "5D|3 values"),
    "RGB .nii": (nifti_rgb, "3 values a voxel"),
    "NaN": (one_value(np.nan), r"1 voxels are NaN or infinite, the first at \(1, 2, 4\)"),
    "infinity": (one_value(np.inf), "NaN or infinite"),
    "complex": (complex_numbers, "complex64"),
    "no pose": (no_pose, "left and right are unknown"),
    "sheared .nii": (sheared(".nii"), "degrees.*gantry tilt"),
    "sheared .nrrd": (sheared(".nrrd"), "degrees.*gantry tilt"),
    "zero spacing .nii": (sform(np.diag([1, 0, 1, 1])), "zero"),
    "singular .nii": (sform([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "zero|singular"),
    "singular oblique .nii": (sform([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
    "NaN pose .nii": (sform([[1, 0, 0, np.nan], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "finite"),
    "zero spacing .mha": (edited(".mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1"), "[Zz]ero"),
    "zero spacing .nrrd": (edited(".nrrd", b"(0,1,0)", b"(0,0,0)"), "[Zz]ero"),
    "singular .nrrd": (edited(".nrrd", b"(0,1,0)", b"(1,0,0)"), "determinant is 0"),
    "empty .mha": (edited(".mha", b"DimSize = 6 5 4", b"DimSize = 6 0 4"), "empty: 6 x 0 x 4"),
    "empty .nrrd": (edited(".nrrd", b"sizes: 6 5 4", b"sizes: 6 0 4"), "size is zero"),
    "one voxel": (single_voxel, "single voxel"),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_segmented_gets_a_sentence_with_its_name_and_no_noise(tmp_path, capfd, caplog, make, words):
    path = make(tmp_path)
    capfd.readouterr()
    with pytest.raises(BadInput, match=words) as refusal:
        read_volume(path)
    sentence = str(refusal.value)
    assert sentence.startswith(f"Cannot read {path}: ") and sentence[-1] in ".?" and "\n" not in sentence and "0x" not in sentence
    assert capfd.readouterr() == ("", "")


def test_a_file_has_no_series_to_choose(tmp_path):
    with pytest.raises(BadInput, match="leave the series out"):
        read_volume(nifti(tmp_path / "a.nii"), series="1.2.3")


def test_a_folder_that_may_not_be_read_is_the_systems_word(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(BadInput, match="a.nii: Permission denied; check"):
        read_volume(path)


def test_labels_stored_as_floats_become_ids(tmp_path):
    labels = read_labels(nifti(tmp_path / "a.nii.gz", (ARRAY.T % 3).astype(np.float64)))
    np.testing.assert_array_equal(labels.ids, ARRAY % 3)
    assert labels.ids.dtype == np.uint8 and dict(labels.names) == {}


def test_many_labels_need_sixteen_bits(tmp_path):
    labels = read_labels(nifti(tmp_path / "a.nii.gz", ARRAY.T * 100))
    assert labels.ids.dtype == np.uint16 and labels.ids.max() == 11900


@pytest.mark.parametrize(
    ("value", "words"), [(-1, "go from -1.0 to"), (0.5, "a voxel is 0.5"), (70000, "0 to 65535"), (np.nan, "nan")]
)
def test_an_image_is_not_labels(tmp_path, value, words):
    array = np.zeros((6, 5, 4), np.float32)
    array[0, 0, 0] = value
    with pytest.raises(BadInput, match=words):
        read_labels(nifti(tmp_path / "a.nii", array))


@pytest.mark.parametrize("text", ["{", "[]", '{"dose": 3}', '{"labels": {"background": 0, "liver": 1}}'])
def test_a_json_of_another_kind_beside_the_labels_is_left_alone(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert dict(read_labels(nifti(tmp_path / "a.nii.gz")).names) == {}


def test_names_come_from_the_json_beside(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"labels": {"3": {"name": "liver"}}}))
    assert dict(read_labels(nifti(tmp_path / "a.nii.gz")).names) == {3: "liver"}


@pytest.mark.parametrize(
    "name", ["tests_small/acil_ct64/ct.nii.gz", "tests_small/ts_example_mr_sm/mr.nii.gz", "ct_abdomen/amos_0001_slab/ct.nii.gz"]
)
def test_real_volumes_agree_with_itk(shared_data, name):
    volume = read_volume(shared_data / name)
    image = sitk.ReadImage(str(shared_data / name))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    assert volume.geometry.same_grid(Geometry.from_itk(image))
