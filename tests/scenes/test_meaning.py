"""Which objects are meant by which words: as quick for many things as for few, and the best."""

from itertools import permutations
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import scenes
from labkit.scenes.meaning import Meaning, Relation, Thing, judged, parts, score
from labkit.scenes.reading import read

THREE = scenes.draw(200, 4, "all").words()
THINGS = st.builds(
    Thing,
    shape=st.sampled_from([None, *scenes.SHAPES[:3]]),
    color=st.sampled_from([None, *scenes.COLORS[:2]]),
    number=st.sampled_from([None, 1, 2]),
)


def tried_in_every_order(meaning, objects, background):
    """The plain way: every order of all objects and as many that are missing."""
    needed = [thing.number or 1 for thing in meaning.things]
    best = []
    for order in permutations([*range(len(objects)), *[None] * sum(needed)], sum(needed)):
        ends = [sum(needed[: k + 1]) for k in range(len(needed))]
        groups = [order[end - number : end] for number, end in zip(needed, ends)]
        found = list(judged(meaning, objects, background, groups))
        if not best or score(found) > score(best):
            best = found
    return best


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_same_parts_are_found_as_by_trying_every_order(data):
    things = data.draw(st.lists(THINGS, min_size=1, max_size=3).filter(
        lambda given: sum(thing.number or 1 for thing in given) <= 4))  # fmt: skip
    relations = ()
    if len(things) > 1:
        relations = (Relation(0, data.draw(st.sampled_from(scenes.RELATIONS)), 1),)
    scene = data.draw(st.sampled_from(THREE))
    meaning = Meaning(tuple(things), relations, "mint")
    given_objects = scene.objects, scene.background
    assert parts(meaning, *given_objects) == tried_in_every_order(meaning, *given_objects)


def test_nine_things_are_judged_at_once():
    meaning, objects = read("three stars, three circles and three moons"), THREE[0].objects
    start = perf_counter()
    parts(meaning, objects * 2, "mint")  # a reader may see six
    assert perf_counter() - start < 2
