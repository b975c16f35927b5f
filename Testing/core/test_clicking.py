"""How closely a click looks, and what it leaves alone: with a model that knows the truth, at whatever scale it is asked."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from DiffSegCore.click_refining import Look
from DiffSegCore.clicking import MOST_LOOKS, pieces_at
from DiffSegCore.crops import crop_mask
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.looking import Seen, Sight, averaged, share_of
from DiffSegCore.prompt_maps import doubted, steering
from DiffSegCore.session import RefinementSession
from DiffSegCore.volume import LabelMap, Volume

from click_toys import away, ball, click_model, grid

def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture
def knowing(monkeypatch):
    """A session of nothing, or of labels, whose model knows the truth; known: what is believed without the prompts; found: by a model that said how sure it is; looked: the spacing of every look."""
    def begin(truth: np.ndarray, geometry: Geometry, labels: np.ndarray | None = None, known: np.ndarray | None = None,
              found: bool = False) -> tuple[RefinementSession, list[float]]:
        looked: list[float] = []

        def look(self, draft, label, prompts, crop, samples=1):
            looked.append(crop.spacing[0])
            share, nothing = share_of(draft, label, geometry, crop), torch.zeros(crop.shape)
            believed = doubted(share if known is None else crop_mask(known, geometry, crop))
            answer = Look(crop_mask(truth, geometry, crop), nothing, nothing)
            return Seen(crop, share, steering([], share, nothing, crop.spacing), answer, believed, known is not None, found)
        monkeypatch.setattr(Sight, "look", look)
        session = RefinementSession(click_model(), device="cpu")
        ids = np.zeros(geometry.shape, np.uint8) if labels is None else labels.astype(np.uint8)
        session.set_volume(Volume(np.zeros(geometry.shape, np.int16), geometry, "CT"), LabelMap(ids, geometry, {1: "lump"}))
        return session, looked
    return begin


@pytest.mark.parametrize("radius, least", [(3.2, .8), (9., .9), (14., .85), (45., .85)])
def test_one_click_finds_an_object_of_any_size(knowing, radius, least):
    geometry = grid(mm=1.) if radius < 4 else grid()
    truth = ball(geometry, (30, 32, 32), radius)
    session, looked = knowing(truth, geometry)
    session.add_point(geometry.to_ras((30, 32, 32)), 1, inside=True)
    assert dice(session.labels.ids == 1, truth) > least and len(looked) <= MOST_LOOKS
    assert looked[0] == 3 and (looked[-1] < 2 if radius < 4 else max(looked) >= radius / 8)


def test_a_coarse_answer_is_looked_at_more_closely_near_the_click(knowing):
    geometry = grid()
    session, looked = knowing(ball(geometry, (30, 32, 32), 45.), geometry)
    session.add_point(geometry.to_ras((30, 32, 32)), 1, inside=True)
    assert looked[:2] == [3, 6] and min(looked[-1:]) < max(looked) and len(looked) <= MOST_LOOKS


def test_a_tube_is_followed_beyond_the_first_crop_as_finely_as_it_was_seen_there(knowing):
    geometry = grid((200, 32, 32))
    tube = np.zeros(geometry.shape, bool)
    tube[20:180, 14:19, 14:19] = True  # 32 cm long, 1 cm thick; a crop of the toy shows 4.8
    session, looked = knowing(tube, geometry)
    session.add_point(geometry.to_ras((100, 16, 16)), 1, inside=True)
    found = session.labels.ids == 1
    assert looked == [3.] * MOST_LOOKS and not (found & ~ndimage.binary_dilation(tube)).any()
    assert Box.of(found).shape[0] * 2 > 2 * 48


def test_a_tube_is_not_followed_when_the_click_takes_away(knowing):
    geometry = grid((200, 32, 32))
    tube = np.zeros(geometry.shape, bool)
    tube[20:180, 14:19, 14:19] = True
    session, looked = knowing(np.zeros_like(tube), geometry, tube)
    session.add_point(geometry.to_ras((100, 16, 16)), 1, inside=False)
    assert set(looked) != {3.}


def test_a_broad_object_on_a_stalk_is_looked_at_more_coarsely_instead_of_along_the_stalk(knowing):
    geometry = grid((200, 32, 32))
    bulb = ball(geometry, (100, 16, 16), 12.)
    bulb[20:180, 14:19, 14:19] = True
    session, looked = knowing(bulb, geometry)
    session.add_point(geometry.to_ras((100, 16, 16)), 1, inside=True)
    assert looked[:2] == [3., 6.]


def test_what_was_seen_well_is_not_decided_again_where_a_tube_is_followed(knowing, monkeypatch):
    """Every look after the first would take away whatever it shows."""
    geometry = grid((200, 32, 32))
    tube = np.zeros(geometry.shape, bool)
    tube[20:180, 14:19, 14:19] = True
    session, looked = knowing(tube, geometry)
    first, nothing = Sight.look, torch.zeros((16,) * 3)

    def later(self, *args):
        seen = first(self, *args)
        return seen if len(looked) == 1 else replace(seen, answer=Look(nothing, nothing, nothing))
    monkeypatch.setattr(Sight, "look", later)
    session.add_point(geometry.to_ras((100, 16, 16)), 1, inside=True)
    assert (session.labels.ids == 1)[96:104, 14:19, 14:19].all()


def test_a_coarser_look_that_sees_the_same_leaves_it_as_finely_seen(knowing):
    geometry = grid()
    truth = ball(geometry, (30, 32, 32), 14.)
    session, looked = knowing(truth, geometry)
    session.add_point(geometry.to_ras((30, 32, 32)), 1, inside=True)
    assert looked == [3., 6.] and dice(session.labels.ids == 1, truth) > .95


def test_a_click_changes_the_piece_it_touches_and_no_other(knowing):
    geometry = grid()
    near, far = ball(geometry, (30, 32, 24), 7.), ball(geometry, (30, 32, 33), 5.)
    session, _ = knowing(near | far, geometry)
    session.add_point(geometry.to_ras((30, 32, 22)), 1, inside=True)
    ids = session.labels.ids == 1
    assert dice(ids, near) > .9 and not ids[far].any()


def test_a_bulge_is_taken_off_and_the_rest_keeps_every_voxel(knowing):
    geometry = grid()
    body, bulge = ball(geometry, (30, 32, 24), 12.), ball(geometry, (30, 32, 31), 6.)
    session, _ = knowing(body, geometry, body | bulge)
    session.add_point(geometry.to_ras((30, 32, 33)), 1, inside=False)
    ids, untouched = session.labels.ids == 1, ball(geometry, (30, 32, 16), 12.)
    assert dice(ids, body) > .95
    np.testing.assert_array_equal(ids[untouched], (body | bulge)[untouched])


def test_a_click_reaches_less_far_over_what_a_model_was_sure_of_than_over_what_somebody_drew(knowing):
    geometry = grid()
    body, wider = ball(geometry, (30, 32, 32), 12.), ball(geometry, (30, 32, 32), 18.)
    added = []
    for found in (False, True):
        session, _ = knowing(wider, geometry, body, body, found)
        added.append(session.add_point(geometry.to_ras((30, 32, 40)), 1, inside=True).added_ml)
    assert 0 < added[1] < .8 * added[0]


def test_an_outline_that_trembles_is_no_change(knowing, monkeypatch):
    geometry = grid()
    body = ball(geometry, (30, 32, 32), 12.)
    session, _ = knowing(body, geometry, body)
    edit = session.add_point(geometry.to_ras((30, 32, 32)), 1, inside=True)
    assert edit.box.is_empty and edit.added_ml == edit.removed_ml == 0


def test_pieces_are_those_that_touch():
    changed = np.zeros((1, 3, 9), bool)
    changed[0, 1, :3] = changed[0, 1, 5:] = True
    near = np.zeros_like(changed)
    near[0, 1, 2] = near[0, 0, 7] = True
    assert pieces_at(changed, near)[0, 1].tolist() == [True] * 3 + [False] * 6
    assert not pieces_at(changed & False, near).any()


def test_a_volume_averaged_beforehand_gives_the_values_of_the_whole():
    geometry = Geometry((20, 40, 44), np.diag([-1., -1., 2., 1.]))
    volume = Volume(np.random.default_rng(0).integers(0, 99, geometry.shape).astype(np.int16), geometry, "MR")
    coarse = averaged(volume, 4.)
    assert coarse.geometry.shape == (10, 10, 11)
    np.testing.assert_allclose(coarse.array, volume.array.reshape(10, 2, 10, 4, 11, 4).mean((1, 3, 5)), rtol=1e-5)
    np.testing.assert_allclose(coarse.geometry.to_ras((0, 0, 0)), geometry.to_ras((.5, 1.5, 1.5)))
    assert averaged(volume, 1.) is volume


def test_what_was_drawn_is_corrected_near_the_click_and_believed_further_away(knowing):
    """The model's own view differs all round; a click asks for its view of one place."""
    geometry = grid()
    drawn, seen = ball(geometry, (30, 32, 32), 30.), ball(geometry, (30, 32, 32), 36.)
    session, _ = knowing(seen, geometry, drawn, known=drawn)
    session.add_point(geometry.to_ras((30, 32, 48)), 1, inside=True)
    now, away_mm = session.labels.ids == 1, away(geometry, (30, 32, 48))
    assert (now == seen)[away_mm < 6].mean() > .95
    assert (now == drawn)[away_mm > 25].all()


def test_what_prompts_alone_made_is_seen_anew_as_far_as_the_change_hangs_together(knowing):
    geometry = grid()
    made, seen = ball(geometry, (30, 32, 32), 30.), ball(geometry, (30, 32, 32), 36.)
    session, _ = knowing(seen, geometry, made)
    session.add_point(geometry.to_ras((30, 32, 48)), 1, inside=True)
    assert ((session.labels.ids == 1) != made)[away(geometry, (30, 32, 48)) > 25].any()


def test_what_clicks_made_stays_where_it_is_far_from_one_that_says_not_here(knowing):
    """The model would now take all of it away."""
    geometry = grid()
    made = ball(geometry, (30, 32, 32), 50.)
    session, _ = knowing(np.zeros_like(made), geometry, made)
    session.add_point(geometry.to_ras((30, 32, 54)), 1, inside=False)
    now, away_mm = session.labels.ids == 1, away(geometry, (30, 32, 54))
    assert not now[away_mm < 12].any()
    assert now[made & (away_mm > 55)].all()


def test_one_that_adds_does_not_cost_what_clicks_made_when_the_model_loses_the_object(knowing):
    geometry = grid()
    made = ball(geometry, (30, 32, 32), 50.)
    session, _ = knowing(np.zeros_like(made), geometry, made)
    session.add_point(geometry.to_ras((30, 32, 59)), 1, inside=True)
    now = session.labels.ids == 1
    assert now[30, 32, 59] and now[made].mean() > .6 and now[made & (away(geometry, (30, 32, 59)) > 75)].all()


def test_one_not_here_takes_all_that_is_too_much_where_the_model_keeps_the_object(knowing):
    geometry = grid()
    made = ball(geometry, (30, 32, 32), 50.)
    seen = made & (np.indices(made.shape)[2] < 42)
    session, _ = knowing(seen, geometry, made)
    session.add_point(geometry.to_ras((30, 32, 48)), 1, inside=False)
    now, far_surplus = session.labels.ids == 1, made & ~seen & (away(geometry, (30, 32, 48)) > 35)
    assert far_surplus.any() and now[far_surplus].mean() < .1 and dice(now, seen) > .99


def test_what_many_clicks_made_is_changed_near_the_next_one(knowing):
    """The model would now add a rim all round."""
    geometry = grid()
    seen = ball(geometry, (30, 32, 32), 36.)
    session, _ = knowing(seen, geometry)
    for column in (32, 28, 36, 30, 34):
        session.add_point(geometry.to_ras((30, 32, column)), 1, inside=True)
    before, far = session.labels.ids == 1, away(geometry, (30, 32, 51)) > 60
    seen |= ball(geometry, (30, 32, 32), 44.)
    session.add_point(geometry.to_ras((30, 32, 51)), 1, inside=True)
    now = session.labels.ids == 1
    assert (now == before)[far].all() and (now != before)[~far].any() and (seen & ~before)[far].any()


def test_the_deeper_in_what_was_drawn_a_mistake_lies_the_more_is_taken_away(knowing):
    geometry, removed = grid(), []
    drawn = ball(geometry, (30, 32, 32), 40.)
    for column in (50, 46):
        session, _ = knowing(np.zeros_like(drawn), geometry, drawn, known=drawn)
        session.add_point(geometry.to_ras((30, 32, column)), 1, inside=False)
        removed.append(int(drawn.sum() - (session.labels.ids == 1).sum()))
    assert 0 < 2 * removed[0] < removed[1] < drawn.sum()


def test_belief_leaves_a_mask_that_was_cut_low_as_it_is_where_nothing_was_known_better():
    chances, nothing = torch.tensor([[[.1, .29, .31, .8]]]), torch.zeros(1, 1, 4)
    found = Look(chances, nothing, nothing).believing(torch.full((1, 1, 4), .05), nothing, .3)
    assert found.mask.tolist() == [[[False, False, True, True]]]


@pytest.mark.parametrize("weight, chance", [(0., .2), (1., .9), (.5, .6)])
def test_belief_moves_an_answer_towards_what_was_known_in_logits(weight, chance):
    flat = torch.full((2, 2, 2), .2)
    found = Look(flat, flat, flat).believing(torch.full((2, 2, 2), .9), torch.full((2, 2, 2), weight), .5)
    assert found.cut == .5
    torch.testing.assert_close(found.chances, torch.full((2, 2, 2), chance))  # at one half: odds sqrt(.25 * 9) = 1.5
