"""Whole volumes from file to labels: one anatomy in many files gives one segmentation, and real scans of any region go through."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from DiffSegCore.data.phantom import phantom
from DiffSegCore.geometry import Geometry
from DiffSegCore.metrics import compare
from DiffSegCore.model import Model
from DiffSegCore.reading import read_labels, read_volume
from DiffSegCore.registry import load_model
from DiffSegCore.resources import resource
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.training.recipes import HEAD_NECK
from DiffSegCore.volume import LabelMap
from DiffSegCore.writing import write_labels

from stored import grid, middle, sampled, store

SCANS = ("tests_small/cthead_dicom", "ct_abdomen/ts_example/ct.nii.gz", "ct_abdomen/amos_0001_slab/ct.nii.gz", "ct_abdomen/amos_0013_slab/ct.nii.gz",
         "ct_abdomen/ts_dicom_slab/ct.nii.gz", "tests_small/acil_ct64/ct.nii.gz")


class Body(nn.Module):
    """Whatever is denser than half way from air to water: a segmentor whose answer depends on each place alone."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-0.75 - image, image + 0.75], dim=1) * 20


@pytest.fixture(scope="module")
def bundled() -> Segmenter:
    return Segmenter(load_model(), "cpu")


@pytest.fixture(scope="module")
def by_place() -> Segmenter:
    return Segmenter(Model(Body(), {}, HEAD_NECK.preprocessing, ("body",), HEAD_NECK.window), "cpu")


def scanner(spacing_mm: float, shape: tuple[int, int, int]) -> Geometry:
    """A scanner's grid (LPS axes) round the phantom's neck."""
    matrix = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = spacing_mm * shape[2] / 2, spacing_mm * shape[1] / 2 - 20, -spacing_mm * shape[0] / 2
    return Geometry(shape, matrix)


NECK = scanner(2.5, (100, 100, 112))
CLOSE = scanner(1.6, (100, 100, 100))  # half a voxel at a surface has to be small beside the body


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """found(segmenter, base, grid, suffix): labels of the phantom stored so, each computed once."""
    kept: dict[tuple, LabelMap] = {}

    def labels(segmenter: Segmenter, base: Geometry, name: str, suffix: str) -> LabelMap:
        key = segmenter, base, name, suffix
        if key not in kept:
            volume, _ = phantom(0, geometry=grid(name, base), noise_hu=0)
            kept[key] = segmenter.segment(read_volume(store(volume, tmp_path_factory.mktemp(name), "ct", suffix))).labels
        return kept[key]

    return labels


def agreement(one: LabelMap, other: LabelMap, common: Geometry) -> float:
    """Dice of two label maps on a common grid, voxels of the wrong organ counted as wrong."""
    a, b = sampled(one, common), sampled(other, common)
    return 2 * np.sum((a == b) & (a > 0)) / (np.sum(a > 0) + np.sum(b > 0))


@pytest.mark.parametrize("name, suffix", [("flipped", ".nrrd"), ("left-handed", ".nii.gz"), ("permuted", ".nrrd"), ("straight", "dicom")])
def test_the_organs_are_the_same_however_the_same_voxels_are_stored(bundled, found, name, suffix):
    assert agreement(found(bundled, NECK, "straight", ".nii.gz"), found(bundled, NECK, name, suffix), middle(NECK)) >= .99


@pytest.mark.parametrize("name, suffix", [("oblique", ".nii.gz"), ("oblique", ".nrrd"), ("oblique", "dicom"), ("anisotropic", ".nii.gz"),
                                          ("anisotropic", ".nrrd"), ("anisotropic", "dicom"), ("left-handed", ".nrrd"), ("flipped", ".nii.gz")])
def test_what_depends_on_the_place_alone_is_the_same_on_every_grid(by_place, found, name, suffix):
    assert agreement(found(by_place, CLOSE, "straight", ".nii.gz"), found(by_place, CLOSE, name, suffix), middle(CLOSE)) >= .99


def test_a_shift_by_one_model_voxel_would_be_noticed(by_place, found):
    labels = found(by_place, CLOSE, "straight", ".nii.gz")
    matrix = labels.geometry.ijk_to_ras.copy()
    matrix[0, 3] += HEAD_NECK.preprocessing.spacing_mm[2]
    assert agreement(labels, LabelMap(labels.ids, Geometry(labels.geometry.shape, matrix), labels.names), middle(CLOSE)) < .99


@pytest.mark.parametrize("scan", SCANS)
def test_a_real_scan_of_any_region_gives_labels_on_its_grid_and_a_word_of_warning(bundled, shared_data, tmp_path, scan):
    volume = read_volume(shared_data / scan)
    prediction = bundled.segment(volume)
    write_labels(prediction.labels, tmp_path / "found.nrrd")
    assert read_labels(tmp_path / "found.nrrd").geometry.same_grid(volume.geometry)
    assert prediction.labels.ids.shape == volume.array.shape
    assert any("trained on" in sentence or "part of the body" in sentence for sentence in prediction.warnings)


def test_the_shipped_sample_is_segmented_well(bundled):
    sample: Path = resource("Sample")
    prediction = bundled.segment(read_volume(sample / "sample_ct.nii.gz"))
    scores = compare(prediction.labels, read_labels(sample / "sample_labels.nii.gz"))
    assert np.mean([each.dice for each in scores]) >= .90
    assert prediction.warnings == ()
