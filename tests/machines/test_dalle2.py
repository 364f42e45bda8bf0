"""DALL·E 2 draws, and changes pictures, where it lies, and does there what it does on a CPU."""

import pytest
import torch

from tests.machines import tiny
from tests.machines.pretended import pretended

PROMPTS = ["a red star", "a blue moon"]


@pytest.mark.parametrize(
    ("prior", "own"), [("diffusion", {"steps": 4}), ("autoregressive", {}), (None, {})], ids=str
)
def test_new_pictures_by_way_of_an_embedding(alike, prior, own):
    def work(device):
        made = tiny.dalle2(device).generate(
            PROMPTS, prior=prior, prior_options=own, steps=3, scale=2.0, eta=1.0
        )
        return [state.x for state in made]

    alike(work)


@pytest.mark.parametrize(
    ("prior", "options"),
    [
        ("diffusion", {"steps": 4, "scale": 2.0, "candidates": 3, "eta": 1.0}),
        ("autoregressive", {"temperature": 0.7, "scale": 2.0}),
    ],
)
def test_the_embeddings_of_pictures_yet_to_be_drawn(alike, prior, options):
    alike(lambda device: tiny.dalle2(device).embed(PROMPTS, prior, **options))


def test_pictures_varied_mixed_and_changed_by_words(alike):
    def work(device):
        system = tiny.dalle2(device)
        one, two = (tiny.pictures(1, tiny.COLORED, seed=seed) for seed in (1, 2))  # on the CPU
        made = (
            system.variations(one, 1.0, steps=4),
            system.interpolate(one, two, 3, steps=4),
            system.text_diff(one, *PROMPTS, [0.2, 0.5], steps=4),
        )
        return [list(states)[-1].x for states in made]

    alike(work, rounded=True)


def test_writing_codes_waits_for_no_device():
    with pretended("cuda") as machine:
        system = tiny.system("prior, codes", "cuda").eval()
        _, *texts = tiny.batch("prior, codes", "cuda")
        ids, mask = texts[1], texts[2]
        dot = torch.zeros(len(ids), dtype=torch.long, device="cuda")
        machine.waits.clear()
        with torch.no_grad():
            system.net.walk(ids, mask, texts[0], dot, lambda logits: logits.argmax(1))
    assert not machine.waits
