"""Which sentences are true of which scenes: the table against the reading of one with one."""

import pytest
import torch

from labkit import scenes
from labkit.scenes.descriptions import descriptions
from labkit.scenes.meaning import Meaning, Relation, Thing, parts
from labkit.scenes.reading import read
from labkit.scenes.truth import claims, shows
from labkit.scenes.world import BACKGROUNDS

DRAWN = scenes.draw(60, 1, "all")
SAID = scenes.captions(DRAWN, 3) + descriptions(DRAWN.take(slice(0, 10)), 2)


def one_by_one(drawn: scenes.Scenes, captions: list[str]) -> torch.Tensor:
    grounds = [BACKGROUNDS[index] for index in drawn.background.tolist()]
    return torch.tensor(
        [[all(part.shown for part in parts(read(caption), objects, ground)) for caption in captions]
         for objects, ground in zip(drawn.objects(), grounds)]
    )  # fmt: skip


def test_every_pair_is_judged_as_it_is_when_read_alone():
    table = shows(DRAWN, claims(SAID))
    assert torch.equal(table, one_by_one(DRAWN, SAID))
    assert 0.005 < table.float().mean() < 0.2  # so neither answer goes without saying


def test_a_caption_is_true_of_its_own_scene():
    assert shows(DRAWN, claims(SAID))[:, :60].diag().all()


def test_parts_of_the_table_are_computed_alike():
    said = claims(SAID)
    whole = shows(DRAWN, said)
    assert torch.equal(shows(DRAWN, said, chunk=100), whole)
    rows, columns = torch.tensor([5, 2]), torch.tensor([7, 0, 9])
    assert torch.equal(shows(DRAWN.take(rows), said.take(columns)), whole[rows][:, columns])


def scene(*objects: tuple) -> scenes.Scenes:
    made = [
        scenes.Object(shape, color, "small", "plain", x, 0.5, 0.15) for shape, color, x in objects
    ]
    return scenes.tensors([scenes.Scene(tuple(made), "sand")])


def test_left_and_right_two_and_three_and_which_color_belongs_to_which_shape():
    seen = scene(("star", "red", 0.2), ("moon", "blue", 0.8))
    told = {
        "a star left of a moon": True, "a moon left of a star": False,
        "a moon right of a star": True, "a red star": True, "a blue star": False,
        "two objects": True, "three objects": False, "a star and a star": False,
        "two stars": False, "one star": True, "a star on the left": True,
        "a star on the right": False, "a red moon and a blue star": False, "a star on mint": False,
    }  # fmt: skip
    assert dict(zip(told, shows(seen, claims(list(told)))[0].tolist())) == told


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: claims([]), "at least one"),
        (lambda: claims("a star"), "list"),
        (lambda: claims(["a zebra"]), "zebra"),
        (lambda: claims([Meaning((Thing("star"),) * 4)]), "4 things"),
        (lambda: claims([Meaning((Thing("star"),) * 2, (Relation(0, "above", 1),) * 2)]), "two"),
        (lambda: claims([Meaning((Thing(number=2), Thing("star")))]), "its number, 2"),
        (lambda: shows("scenes", claims(SAID)), "Scenes"),
        (
            lambda: shows(
                scenes.Scenes(*(torch.zeros(1, 6).long() for _ in range(8)), torch.zeros(1)),
                claims(SAID),
            ),
            "room for 6",
        ),
    ],
)
def test_what_no_table_can_hold_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        call()
