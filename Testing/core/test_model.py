"""A model file explains itself, comes back as it was, and is refused with the reason when it doesn't fit."""
from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from DiffSegCore.errors import BadInput
from DiffSegCore.model import Model, describe_model, load_model_file, save_model
from DiffSegCore.networks import build
from DiffSegCore.packing import packed, unpacked
from DiffSegCore.preprocess import Preprocessing

ARCHITECTURE = {"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16]}}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    preprocessing = Preprocessing((2., 3., 3.), ((-1000., -1.), (1000., 1.)))
    return Model(build(ARCHITECTURE).eval(), ARCHITECTURE, preprocessing, ("liver", "my_cyst"), (8, 8, 8), {"name": "toy", "licence": "CC0"})


@pytest.fixture
def path(model, tmp_path):
    save_model(model, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def rewritten(path, tensors=None, **changes):
    """The same file with other tensors or metadata and the old hash, as a careless editor would leave it."""
    described = {**describe_model(path), **changes}
    save_file(tensors or load_file(path), path, metadata={"diffseg": json.dumps(described)})
    return path


def test_a_model_comes_back_as_it_was(model, path):
    again, image = load_model_file(path), torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(again.network(image), model.network(image), rtol=0, atol=0)
    assert (again.preprocessing, again.organs, again.window, again.card) == (model.preprocessing, model.organs, model.window, model.card)


@pytest.mark.parametrize("bits, share, off", [(16, .6, 2e-2), (8, .45, .1)])
def test_fewer_bits_make_a_smaller_file_and_hardly_change_the_result(model, path, tmp_path, bits, share, off):
    save_model(model, tmp_path / "small.safetensors", bits=bits)
    image = torch.randn(1, 1, 8, 8, 8)
    assert (tmp_path / "small.safetensors").stat().st_size < share * path.stat().st_size
    torch.testing.assert_close(load_model_file(tmp_path / "small.safetensors").network(image), model.network(image), rtol=0, atol=off)


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_a_file_that_is_read_and_written_again_has_the_same_weights_bit_for_bit(model, tmp_path, bits):
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    save_model(model, once, bits=bits)
    save_model(load_model_file(once), twice, bits=bits)
    first, second = load_file(once), load_file(twice)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_eight_bits_are_of_each_row_its_own():
    """A row of small weights beside one of large ones keeps its digits; nothing stays nothing."""
    rows = torch.stack([torch.linspace(-1, 1, 54), torch.linspace(-1e-4, 1e-4, 54), torch.zeros(54)]).reshape(3, 2, 3, 3, 3)
    again = unpacked(packed({"w": rows}, 8))["w"]
    assert ((again - rows).abs().flatten(1).amax(1) <= rows.abs().flatten(1).amax(1) / 250).all()


def test_ids_are_the_tables_and_own_names_get_ids_above_it(model):
    from DiffSegCore.organs import ORGANS
    assert model.ids == (ORGANS["liver"].id, 200)


def test_every_flipped_byte_is_noticed(path):
    whole = path.read_bytes()
    for place in torch.linspace(0, len(whole) - 1, 40).long().tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.raises(BadInput, match="toy.safetensors"):
            load_model_file(path)


def test_a_truncated_or_foreign_file_is_refused(path, tmp_path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged"):
        load_model_file(path)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="not a DiffSeg model"):
        load_model_file(tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="does not exist"):
        load_model_file(tmp_path / "nowhere.safetensors")


def test_changed_metadata_breaks_the_hash(path):
    with pytest.raises(BadInput, match="hash"):
        load_model_file(rewritten(path, organs=["spleen", "my_cyst"]))


def test_a_newer_format_asks_for_an_update(path):
    with pytest.raises(BadInput, match="format 2.*update"):
        load_model_file(rewritten(path, format=2))


@pytest.mark.parametrize("fault, reason", [
    ({"architecture": {**ARCHITECTURE, "organs": 5}}, "size mismatch"),
    ({"architecture": {**ARCHITECTURE, "kind": "brains"}}, "'brains'"),
    ({"organs": ("liver",)}, "names 1 organs"),
])
def test_a_file_whose_parts_do_not_fit_each_other_is_refused(model, tmp_path, fault, reason):
    import dataclasses
    save_model(dataclasses.replace(model, **fault), tmp_path / "odd.safetensors")
    with pytest.raises(BadInput, match=reason):
        load_model_file(tmp_path / "odd.safetensors")
