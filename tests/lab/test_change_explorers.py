"""Pictures that are varied, mixed and changed by words: beforehand in a strip, and by a button."""

import pytest
import torch

from labkit.lab.widgets.change_explorers import (
    InterpolationExplorer,
    TextDiffExplorer,
    VariationExplorer,
)
from labkit.sampler import State

PICTURES = {
    name: torch.full((3, 8, 8), value) for name, value in (("a star", -0.5), ("a moon", 0.5))
}
heard = []


def walk(images, steps):
    for t in reversed(range(steps)):
        yield State(t, images, images)


def variations(image, eta, *, steps, seed):
    heard.append((image, eta, steps, seed))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return walk(image + 0.1 * eta * noise, steps)


def interpolate(a, b, n, *, steps):
    heard.append((a, b, n, steps))
    shares = torch.linspace(0, 1, n).view(-1, 1, 1, 1)
    return walk((1 - shares) * a + shares * b, steps)


def text_diff(image, before, after, thetas, *, steps):
    if "zebra" in after:
        raise ValueError("'a <zebra>' has words that this CLIP has never read")
    heard.append((image, before, after, thetas, steps))
    return walk(image * (1 - torch.tensor(thetas)).view(-1, 1, 1, 1), steps)


@pytest.fixture(autouse=True)
def silence():
    heard.clear()


def test_each_eta_is_drawn_beforehand_from_one_seed_and_any_picture_by_the_button():
    explorer = VariationExplorer(variations, PICTURES, (0, 1), steps=4, columns=3)
    assert [each[1:] for each in heard] == [(0, 4, 0), (1, 4, 0)]
    assert all(torch.equal(each[0], PICTURES["a star"].expand(3, -1, -1, -1)) for each in heard)
    assert explorer.strip._labels == ["eta 0", "eta 1"]
    explorer.choice.value, explorer.eta.value, explorer.seed.value = "a moon", 0.5, 7
    assert explorer.button.button_style == "primary"
    explorer.button.click()
    image, *rest = heard[-1]
    assert rest == [0.5, 4, 7] and torch.equal(image[0], PICTURES["a moon"])
    assert explorer.picture.alt == "3 pictures: a moon: eta 0.5, seed 7"
    assert explorer.picture.image.startswith(b"\x89PNG") and not explorer.button.button_style


def test_the_original_stands_beside_its_variations():
    explorer = VariationExplorer(variations, PICTURES, (0, 1), steps=2, columns=3)
    figure = explorer.shown(torch.zeros(3, 3, 8, 8))
    assert [text.get_text() for text in figure.texts][:4] == ["original", "", "", ""]


def test_the_strip_goes_from_the_first_picture_to_the_second_and_any_two_may_be_chosen():
    explorer = InterpolationExplorer(interpolate, PICTURES, number=5, steps=3)
    a, b, n, steps = heard[0]
    assert torch.equal(a[0], PICTURES["a star"]) and torch.equal(b[0], PICTURES["a moon"])
    assert (n, steps) == (5, 3) and len(set(explorer.strip._frames[0])) == 5
    assert explorer.strip._labels[::2] == ["share 0.00", "share 0.50", "share 1.00"]
    explorer.start.value, explorer.end.value, explorer.number.value = "a moon", "a star", 3
    explorer.button.click()
    assert torch.equal(heard[-1][0][0], PICTURES["a moon"]) and heard[-1][2] == 3
    assert explorer.picture.alt == "3 pictures: from a moon to a star in 3 pictures"
    assert explorer.seed.layout.display == "none"


def test_words_change_the_first_picture_beforehand_and_any_other_by_the_button():
    words = "a red star", "a blue star"
    explorer = TextDiffExplorer(text_diff, PICTURES, words, (0, 0.25, 0.5), steps=3)
    assert heard[0][1:] == (*words, [0, 0.25, 0.5], 3)
    assert explorer.strip._labels == ["theta 0", "theta 0.25", "theta 0.5"]
    explorer.choice.value, explorer.after.value = "a moon", "a large star"
    explorer.button.click()
    assert heard[-1][1:3] == ("a red star", "a large star")
    assert explorer.picture.alt == "3 pictures: a moon: “a red star” → “a large star”"
    explorer.after.value = "a <zebra>"
    explorer.button.click()
    assert "&lt;zebra&gt;&#x27; has words" in explorer.message.value
    assert not explorer.button.disabled


def test_without_a_kernel_each_shows_its_strip_s_still():
    words = "a red star", "a blue star"
    made = (
        VariationExplorer(variations, PICTURES, steps=2),
        InterpolationExplorer(interpolate, PICTURES, steps=2),
        TextDiffExplorer(text_diff, PICTURES, words, steps=2),
    )
    for explorer, says in zip(made, ("variations of it (eta 1)", "share 0.50", "theta 0.3")):
        bundle = explorer._repr_mimebundle_()
        assert (
            says in bundle["text/plain"] and bundle["image/png"] and "<img" in bundle["text/html"]
        )


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: VariationExplorer(variations, {}), "0 pictures to choose from; give 1"),
        (lambda: VariationExplorer(variations, PICTURES, (1,)), "1 etas"),
        (lambda: VariationExplorer(variations, PICTURES, columns=0), "columns is 0"),
        (lambda: InterpolationExplorer(interpolate, {"a": PICTURES["a star"]}), "give 2 or more"),
        (lambda: InterpolationExplorer(interpolate, PICTURES, 1), "number of pictures is 1"),
        (lambda: TextDiffExplorer(text_diff, PICTURES, ("a", "b"), (0.5,)), "1 shares theta"),
    ],
)
def test_nothing_to_explore_gets_a_sentence(made, says):
    with pytest.raises(ValueError, match=says):
        made()
