"""What a session promises, whatever is clicked: obedience, locality, and that everything can be taken back."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.click_refining import refine_crop
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.prompt_maps import Mark, Steering, steered, steering
from DiffSegCore.prompts import to_json
from DiffSegCore.segmenter import Prediction
from DiffSegCore.session import Edit, RefinementSession
from DiffSegCore.volume import LabelMap, Volume

from click_toys import WINDOW, click_model

NAMES = {1: "brainstem", 2: "lump"}


def geometry(shape=(20, 30, 36), spacing=(2., 1.5, 2.5)) -> Geometry:
    """LPS, anisotropic."""
    matrix = np.diag([-spacing[2], -spacing[1], spacing[0], 1.])
    matrix[:3, 3] = (40., 25., -12.)
    return Geometry(shape, matrix)


def scan(grid: Geometry = geometry()) -> Volume:
    noise = np.random.default_rng(1).normal(0, 30, grid.shape)
    noise[6:14, 8:20, 10:24] += 200
    return Volume(noise.astype(np.int16), grid, "CT")


def drawn(grid: Geometry = geometry()) -> LabelMap:
    ids = np.zeros(grid.shape, np.uint8)
    ids[6:14, 8:20, 10:17], ids[6:14, 8:20, 20:26] = 1, 2
    return LabelMap(ids, grid, NAMES)


@pytest.fixture
def a_session() -> RefinementSession:
    return begun()


def begun(shaken: float = .05) -> RefinementSession:
    session = RefinementSession(click_model(shaken=shaken), steps=2, device="cpu")
    session.set_volume(scan(), drawn())
    return session


def ras(*kji: float) -> tuple[float, ...]:
    return tuple(geometry().to_ras(kji).tolist())


def polygon(k: int, half: float = 4.) -> list[tuple[float, ...]]:
    return [ras(k, 15 + a * half, 18 + b * half) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]


def random_prompt(session: RefinementSession, numbers: np.random.Generator) -> Edit:
    label, inside, kind = int(numbers.integers(1, 3)), bool(numbers.integers(2)), numbers.integers(4)
    at = numbers.uniform(1, np.array(geometry().shape) - 2)
    if kind == 0:
        return session.add_point(ras(*at), label, inside=inside)
    if kind == 1:
        return session.add_scribble([ras(*at), ras(*(at + numbers.uniform(-1, 1, 3)))], label, inside=inside)
    if kind == 2:
        return session.add_box(ras(*at), ras(*(at - 5)), label, inside=inside)
    return session.add_lasso(polygon(int(at[0])), label, inside=inside, depth_mm=3.)


def test_a_click_obeys_in_its_voxel_and_says_which_box_it_changed(a_session):
    before = a_session.labels.ids.copy()
    edit = a_session.add_point(ras(3, 4, 5), 1, inside=True)
    after = a_session.labels.ids
    assert after[3, 4, 5] == 1 and edit.number == 1 and edit.added_ml > 0
    np.testing.assert_array_equal(edit.labels, after[edit.box.slices])
    np.testing.assert_array_equal(edit.previous, before[edit.box.slices])
    assert (Box.of(after != before)) == edit.box


def test_an_untrained_model_answers_with_what_a_click_makes_likely_round_it():
    session = RefinementSession(click_model(), device="cpu")
    grid = Geometry((48, 48, 48), np.diag([4., 4., 4., 1.]))
    session.set_volume(Volume(np.zeros(grid.shape, np.int16), grid, "CT"))
    label = session.add_label("lump")
    session.add_point((96, 96, 96), label, inside=True)
    ball = session.labels.ids == label
    away_mm = 4 * np.linalg.norm(np.indices(ball.shape) - np.reshape([24, 24, 24], (3, 1, 1, 1)), axis=0)
    assert ball[away_mm < 8].all() and not ball[away_mm > 115].any()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_can_be_undone_and_redone_to_the_voxel(a_session, seed):
    numbers, seen = np.random.default_rng(seed), [a_session.labels.ids.copy()]
    for _ in range(6):
        try:
            if a_session.prompts and numbers.random() < .25:
                a_session.remove(int(numbers.choice([each.number for each in a_session.prompts])))
            else:
                random_prompt(a_session, numbers)
        except BadInput:
            continue
        seen.append(a_session.labels.ids.copy())
    for then in seen[-2::-1]:
        edit = a_session.undo()
        np.testing.assert_array_equal(a_session.labels.ids, then)
        np.testing.assert_array_equal(a_session.labels.ids[edit.box.slices], edit.labels)
    assert a_session.undo() is None and not a_session.prompts
    for then in seen[1:]:
        a_session.redo()
        np.testing.assert_array_equal(a_session.labels.ids, then)
    assert a_session.redo() is None


@pytest.mark.parametrize("seed", range(4))
def test_nothing_changes_outside_the_box_in_locked_labels_or_beyond_the_region(a_session, seed):
    numbers, first = np.random.default_rng(seed), a_session.labels.ids.copy()
    a_session.region = Box((2, 3, 4), (18, 25, 30))
    outside = np.ones(first.shape, bool)
    outside[a_session.region.slices] = False
    for _ in range(5):
        before = a_session.labels.ids.copy()
        try:
            edit = random_prompt(a_session, numbers)
        except BadInput:
            np.testing.assert_array_equal(a_session.labels.ids, before)
            continue
        after, label = a_session.labels.ids, a_session.prompts[-1].label
        beyond = after != before
        beyond[edit.box.slices] = False
        assert not beyond.any()
        np.testing.assert_array_equal((before > 0) & (before != label), (after > 0) & (after != label))
    np.testing.assert_array_equal(a_session.labels.ids[outside], first[outside])


@pytest.mark.parametrize("seed", range(3))
def test_every_click_stays_obeyed_until_a_newer_one_says_otherwise(a_session, seed):
    numbers, wanted = np.random.default_rng(seed), {}
    a_session.lock_others = False
    for _ in range(8):
        at, label, inside = tuple(numbers.integers(1, np.array(geometry().shape) - 1).tolist()), int(numbers.integers(1, 3)), bool(numbers.integers(2))
        a_session.add_point(ras(*at), label, inside=inside)
        wanted = {**wanted, at: (label, inside)}
        ids = a_session.labels.ids
        assert all((ids[place] == label) == inside for place, (label, inside) in wanted.items())


def test_replaying_the_prompts_gives_the_same_labels(a_session):
    numbers = np.random.default_rng(5)
    a_session.locked, a_session.lock_others = {2}, False
    a_session.add_point(ras(8, 10, 18), 1, inside=True)
    a_session.lock_others, a_session.region = True, Box((2, 3, 4), (18, 25, 30))
    for _ in range(4):
        try:
            random_prompt(a_session, numbers)
        except BadInput:
            pass
    twin = begun()
    twin.replay([to_json(prompt) for prompt in a_session.prompts])
    np.testing.assert_array_equal(twin.labels.ids, a_session.labels.ids)
    assert twin.prompts == a_session.prompts
    twin.undo()
    np.testing.assert_array_equal(twin.labels.ids, drawn().ids)


def test_a_removed_prompt_takes_with_it_what_it_caused_and_no_more(a_session):
    a_session.add_point(ras(9, 13, 18), 1, inside=True)
    a_session.add_point(ras(3, 4, 5), 2, inside=True)
    a_session.add_point(ras(10, 13, 12), 1, inside=False)
    a_session.remove(1)
    assert [each.number for each in a_session.prompts] == [2, 3]
    twin = begun()
    twin.add_point(ras(3, 4, 5), 2, inside=True)
    twin.add_point(ras(10, 13, 12), 1, inside=False)
    np.testing.assert_array_equal(a_session.labels.ids, twin.labels.ids)


def test_voxels_changed_elsewhere_stay_when_an_earlier_prompt_goes(a_session):
    a_session.add_point(ras(3, 4, 5), 1, inside=True)
    ids = a_session.labels.ids.copy()
    ids[18:, 25:, 30:] = 2
    a_session.set_labels(LabelMap(ids, geometry(), NAMES))
    a_session.remove(1)
    wanted = drawn().ids.copy()
    wanted[18:, 25:, 30:] = 2
    np.testing.assert_array_equal(a_session.labels.ids, wanted)
    a_session.undo(), a_session.undo(), a_session.undo()
    np.testing.assert_array_equal(a_session.labels.ids, drawn().ids)


@pytest.mark.parametrize("refused, words", [
    (lambda s: s.add_point((500., 0., 0.), 1, inside=True), "outside the volume"), (lambda s: s.add_point((float("nan"), 0., 0.), 1, inside=True), "finite"),
    (lambda s: s.add_point(ras(3, 3, 3), 7, inside=True), "no label 7"), (lambda s: s.add_point(ras(3, 3, 3), 0, inside=True), "no label 0"),
    (lambda s: s.add_lasso([], 1, inside=True, depth_mm=2.), "3 places"), (lambda s: s.add_scribble([], 1, inside=True), "1 places"),
    (lambda s: s.add_scribble([ras(3, 3, 3), ras(3, 3, 99)], 1, inside=True), "outside the volume"),
    (lambda s: s.add_box((500., 500., 500.), (600., 600., 600.), 1), "outside the volume"), (lambda s: s.add_point(ras(8, 10, 22), 1, inside=True), "lump, which is locked"),
    (lambda s: s.remove(9), "no prompt 9"), (lambda s: s.replay([{"kind": "point"}]), "missing"), (lambda s: s.uncertainty(9), "no label 9"), (lambda s: s.uncertainty(1, samples=0), "one sample"),
    (lambda s: s.add_label("lump"), "already"), (lambda s: s.set_labels(LabelMap(np.zeros((2, 2, 2), np.uint8), geometry((2, 2, 2)))), "resample")])
def test_what_is_refused_changes_nothing_not_even_the_redo_before_it(a_session, refused, words):
    a_session.add_point(ras(3, 4, 5), 1, inside=True)
    a_session.undo()
    before = a_session.labels.ids.copy()
    with pytest.raises(BadInput, match=words):
        refused(a_session)
    np.testing.assert_array_equal(a_session.labels.ids, before)
    assert a_session.names == NAMES and a_session.redo().number == 1


def test_a_click_that_is_stopped_changes_nothing(a_session):
    before = a_session.labels.ids.copy()

    def stop(fraction: float, stage: str) -> None:
        raise Cancelled
    with pytest.raises(Cancelled):
        a_session.add_point(ras(3, 4, 5), 1, inside=True, progress=stop)
    np.testing.assert_array_equal(a_session.labels.ids, before)
    assert not a_session.prompts and a_session.undo() is None


@pytest.mark.parametrize("calls", [1, 2])
def test_a_removal_that_is_stopped_half_way_changes_nothing(a_session, calls):
    for at in ((3, 4, 5), (16, 22, 30), (9, 13, 18)):
        a_session.add_point(ras(*at), 1, inside=True)
    before, prompts, told = a_session.labels.ids.copy(), a_session.prompts, []

    def stop(fraction: float, stage: str) -> None:
        told.append(fraction)
        if len(told) == calls:
            raise Cancelled
    with pytest.raises(Cancelled):
        a_session.remove(1, progress=stop)
    np.testing.assert_array_equal(a_session.labels.ids, before)
    assert a_session.prompts == prompts and a_session.add_point(ras(3, 25, 5), 1, inside=True).number == 4


def test_a_locked_label_is_not_edited_and_a_region_refuses_clicks_beyond_it(a_session):
    a_session.locked = {1}
    with pytest.raises(BadInput, match="brainstem is locked"):
        a_session.add_point(ras(3, 4, 5), 1, inside=True)
    a_session.locked, a_session.region = set(), Box((10, 0, 0), (20, 30, 36))
    with pytest.raises(BadInput, match="outside the region"):
        a_session.add_point(ras(3, 4, 5), 1, inside=True)


def test_a_new_label_takes_the_tables_id_or_a_free_one_and_ids_grow_with_it(a_session):
    assert a_session.add_label("mandible") == 7 and a_session.add_label("cyst") == 200
    for n in range(60):
        label = a_session.add_label(f"cyst {n}")
    a_session.add_point(ras(3, 4, 5), label, inside=True)
    assert label == 260 and a_session.labels.ids[3, 4, 5] == 260 and a_session.labels.names[260] == "cyst 59"
    a_session.undo()
    np.testing.assert_array_equal(a_session.labels.ids, drawn().ids)


def test_a_saved_session_goes_on_where_it_was(a_session, tmp_path):
    numbers = np.random.default_rng(2)
    for _ in range(3):
        random_prompt(a_session, numbers) if _ else a_session.add_point(ras(3, 4, 5), 1, inside=True)
    a_session.add_label("cyst")
    a_session.save(tmp_path / "case.diffseg")
    back = RefinementSession.restore(tmp_path / "case.diffseg", click_model(shaken=.05), scan(), device="cpu")
    np.testing.assert_array_equal(back.labels.ids, a_session.labels.ids)
    assert back.prompts == a_session.prompts and back.names == a_session.names
    for session in (back, a_session):
        session.remove(1)
    np.testing.assert_array_equal(back.labels.ids, a_session.labels.ids)
    while back.undo():
        pass
    np.testing.assert_array_equal(back.labels.ids, drawn().ids)


def test_a_damaged_file_and_another_volume_are_refused(a_session, tmp_path):
    a_session.save(tmp_path / "case.diffseg")
    with pytest.raises(BadInput, match="belongs to a volume"):
        RefinementSession.restore(tmp_path / "case.diffseg", click_model(), scan(geometry((20, 30, 30))), device="cpu")
    (tmp_path / "bad").write_bytes((tmp_path / "case.diffseg").read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged"):
        RefinementSession.restore(tmp_path / "bad", click_model(), scan(), device="cpu")
    with pytest.raises(BadInput, match="Cannot read"):
        RefinementSession.restore(tmp_path / "none", click_model(), scan(), device="cpu")


def test_labels_that_are_handed_out_cannot_be_written_into(a_session):
    with pytest.raises(ValueError):
        a_session.labels.ids[0] = 1


def test_uncertainty_lies_round_the_object_and_the_next_place_in_it():
    session = begun(shaken=.3)
    entropy = session.uncertainty(1, samples=3)
    assert entropy.geometry == geometry() and 0 < entropy.array.max() <= np.log(2) + 1e-5
    assert not entropy.array[:, :, 32:].any()
    place = session.next_place()
    assert place.label in NAMES and NAMES[place.label] in place.reason and place.score > 0
    assert geometry().contains(geometry().to_index(place.ras))
    assert session.next_place(place.label) == place


def test_a_place_with_a_click_is_not_asked_again():
    session = begun(shaken=.3)
    first = session.next_place(1)
    session.lock_others = False
    session.add_point(first.ras, 1, inside=True)
    second = session.next_place(1)
    assert second is None or np.linalg.norm(np.subtract(first.ras, second.ras)) >= 8


def test_a_session_without_objects_knows_no_place_and_no_doubt():
    session = RefinementSession(click_model(), device="cpu")
    session.set_volume(scan())
    label = session.add_label("cyst")
    assert session.next_place() is None and not session.uncertainty(label).array.any()


def test_what_the_automatic_result_was_unsure_of_is_the_prior_where_nobody_changed_it():
    grid = geometry()
    logits = torch.zeros(2, *grid.shape)
    logits[0, :, :, 18:], logits[1, :, :, :18] = 4., .5
    ids = np.zeros(grid.shape, np.uint8)
    ids[:, :, :18] = 1
    prediction = Prediction(LabelMap(ids, grid, {1: "brainstem"}), logits, grid, (), 0.)
    session = RefinementSession(click_model(), device="cpu")
    session.set_volume(scan(), prediction=prediction)
    crop = Geometry(WINDOW, np.array([[2., 0, 0, -16], [0, 2., 0, -20], [0, 0, 2., 0], [0, 0, 0, 1]]))
    seen = session._now.sight.look(session._now.draft, 1, (), crop)
    said = float(torch.tensor(.5).sigmoid())
    assert float(seen.known[seen.share == 1].median()) == pytest.approx(.05 + .9 * said, abs=.01)


@pytest.mark.parametrize("make, words", [
    (lambda: RefinementSession(click_model(), steps=9), "1 to 8 steps"), (lambda: RefinementSession(click_model(), device="tpu"), "no device"),
    (lambda: RefinementSession(click_model(), device="cpu").add_point((0, 0, 0), 1, inside=True), "no volume"),
    (lambda: RefinementSession(click_model(), device="cpu").set_volume(Volume(np.zeros((2, 4, 4, 4), np.int16), geometry((4, 4, 4)), "MR")), "2 channels"),
    (lambda: RefinementSession(click_model(), device="cpu").set_volume(scan(), drawn(geometry((20, 30, 36), (2., 2., 2.)))), "resample")])
def test_what_cannot_be_a_session_says_why(make, words):
    with pytest.raises(BadInput, match=words):
        make()


# one crop

SHAPE = (16, 16, 16)


def crop_of(shaken: float = .1, **change):
    torch.manual_seed(1)
    image, prior = torch.randn(2, *SHAPE).clamp(-1, 1), torch.rand(SHAPE)
    marks = [Mark("point", True, np.array([[8., 8, 8]])), Mark("point", False, np.array([[3., 3, 3]]), None, 1)]
    given = steering(marks, prior, image[1], (2., 2., 2.))
    options = {"steps": 3, "samples": 2, "origin": (0, 0, 0), **change}
    return refine_crop(click_model(shaken=shaken, diffusion=options.pop("diffusion", True)), image, prior, given, **options), prior, given


@pytest.mark.parametrize("diffusion", [True, False])
def test_the_core_comes_back_exactly_and_the_rest_stays_open(diffusion):
    look, _, given = crop_of(diffusion=diffusion)
    assert (look.chances[given.core == 1] == 1).all() and (look.chances[given.core == 0] == 0).all()
    free = look.chances[given.core < 0]
    assert 0 < free.min() and free.max() < 1
    assert not look.entropy[given.core >= 0].any() and (look.information <= look.entropy + 1e-6).all()


def test_an_untrained_model_answers_with_the_steered_prior():
    look, prior, given = crop_of(shaken=0.)
    free = given.core < 0
    torch.testing.assert_close(look.chances[free], steered(prior, given)[free].clamp(.02, .98), atol=1e-4, rtol=0)


def test_a_sample_is_keyed_by_its_place_and_number():
    one, again, elsewhere = crop_of(samples=1)[0], crop_of(samples=1)[0], crop_of(samples=1, origin=(0, 0, 5))[0]
    assert torch.equal(one.chances, again.chances) and not torch.equal(one.chances, elsewhere.chances)
    assert not one.information.any() and crop_of(samples=4)[0].information.max() > 0


def test_every_second_sample_sees_the_crop_mirrored():
    """Of a control, which draws nothing by chance, the mirrored crop then has the mirrored answer."""
    torch.manual_seed(1)
    image, prior, model = torch.randn(2, *SHAPE).clamp(-1, 1), torch.rand(SHAPE), click_model(shaken=.1, diffusion=False)
    marks = [Mark("point", True, np.array([[8., 8, 5]]))]
    given = steering(marks, prior, image[1], (2., 2., 2.))
    mirrored = Steering(given.channels.flip(-1), given.push.flip(-1), given.core.flip(-1), None, None)
    (one, other), (straight, _) = ([refine_crop(model, *what, samples=samples).chances for what in ((image, prior, given), (image.flip(-1), prior.flip(-1), mirrored))]
                                   for samples in (2, 1))
    torch.testing.assert_close(one, other.flip(-1), atol=1e-5, rtol=0)
    assert (one - straight).abs().max() > 1e-3


def test_a_model_of_another_kind_is_refused():
    model = click_model()
    other = Model(build({**model.architecture, "prompt_channels": 0}), {}, model.preprocessing, (), WINDOW, model.card)
    with pytest.raises(BadInput, match="does not read clicks"):
        RefinementSession(other)
