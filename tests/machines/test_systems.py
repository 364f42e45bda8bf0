"""Every system learns and generates where it lies, and what it does there is what a CPU does."""

import pytest
import torch
from torch import nn

from labkit.sampler import ddpm
from labkit.systems.sdg import NoisyCLIP
from tests.machines import tiny
from tests.machines.pretended import pretended

LABELS = [0, 2, None, 1]


@pytest.mark.parametrize("name", tiny.SYSTEMS)
def test_a_loss_and_its_gradients(alike, name):
    def work(device):
        system = tiny.system(name, device)
        torch.manual_seed(0)
        loss = system.loss(tiny.batch(name, device))
        loss.backward()
        return loss.detach(), [p.grad for p in system.parameters() if p.grad is not None]

    alike(work, rounded="variance" in name)


# Each look at what is given, whether it fits, is one; the reader picks objects out by masks.
WAITS = {"reader": 9}


@pytest.mark.parametrize("name", tiny.SYSTEMS)
def test_a_loss_waits_for_its_device_only_to_look_at_what_it_was_given(name):
    with pretended("cuda") as machine:
        system, batch = tiny.system(name, "cuda"), tiny.batch(name, "cuda")
        machine.waits.clear()
        system.loss(batch)
    assert machine.waits.total() <= WAITS.get(name, 3), machine.waits


def test_new_pictures_of_a_ddpm(alike):
    def work(device):
        return list(tiny.system("ddpm", device).generate(3, steps=4, seed=1, eta=0.5))

    alike(work)


@pytest.mark.parametrize("scale", [1.0, 2.5, torch.tensor([0.0, 1.0, 2.0, 3.0])], ids=str)
@pytest.mark.parametrize("kind", ["adm", "adm, learned variance"])
def test_new_pictures_of_each_class(alike, kind, scale):
    def work(device):
        *_, last = tiny.system(kind, device).generate(LABELS, steps=3, scale=scale, step=ddpm)
        return last.x, last.x0

    alike(work)


@pytest.mark.parametrize("labels", [[0, 2, 1, 1], torch.tensor([0, 2, 1, 1])], ids=["list", "cpu"])
def test_new_pictures_that_a_classifier_steers(alike, labels):
    def work(device):
        model, guide = tiny.system("adm", device), tiny.system("noisy guide", device)
        *_, last = model.generate(labels, steps=3, scale=2.0, guide=guide, guide_scale=1.5)
        return last.x

    alike(work)


@pytest.mark.parametrize("kind", ["glide", "glide, learned variance"])
def test_new_pictures_of_sentences_some_of_their_pixels_known(alike, kind):
    prompts = ["a red star", {"a blue moon": 2.0, "a star": -1.0}]

    def work(device):
        known = tiny.pictures(1, tiny.COLORED, seed=3), torch.ones(1, 1, 16, 16).triu()
        made = tiny.system(kind, device).generate(
            prompts, steps=3, scale=2.0, negative="a disc", known=known, eta=1.0
        )
        return list(made)

    alike(work)


def test_a_part_painted_anew_and_twice_the_size_from_pictures_that_wait_on_the_cpu(alike):
    known = tiny.pictures(1, tiny.COLORED, seed=3), torch.ones(1, 1, 16, 16).triu()

    def work(device):
        inpaints, upsamples = (
            tiny.system(f"glide, {what}", device) for what in ("inpaints", "upsamples")
        )
        *_, painted = inpaints.generate(["a red star"], steps=3, known=known, eta=1.0)
        low = known[0][..., ::2, ::2]
        *_, larger = upsamples.generate(["a red star"], steps=[18, 7, 0], low=low)
        return painted.x, larger.x

    alike(work)


def test_new_latents_of_sentences_and_their_pictures_some_pixels_known(alike):
    def work(device):
        known = tiny.pictures(1, tiny.COLORED, seed=3), torch.ones(1, 1, 16, 16).triu()
        made = tiny.system("ldm", device).generate(
            ["a red star", "a blue moon"], steps=3, scale=2.0, known=known, eta=1.0
        )
        return [(state.x, state.x0, state.pictures) for state in made]

    alike(work)


def test_new_latents_beside_a_smaller_picture(alike):
    def work(device):
        low = tiny.pictures(2, tiny.NET, seed=3).repeat(1, 3, 1, 1)
        system = tiny.system("ldm, smaller picture beside", device)
        *_, last = system.generate(["a red star", None], steps=2, low=low)
        return last.x, last.pictures

    alike(work)


def test_new_pictures_that_four_scores_steer(alike):
    weights = {"scale": 5.0, "content": 4.0, "structure": 3.0, "style": 2.0}

    def work(device):
        reference = tiny.pictures(1, tiny.COLORED, device, seed=3)
        made = tiny.sdg(device).generate(
            ["a red star", "a blue moon"], reference=reference, steps=2, eta=1.0, **weights
        )
        return list(made)

    alike(work)


def test_a_reference_and_sentences_may_wait_on_the_cpu(alike):
    """They are the caller's: nobody has to know where the system lies."""

    def work(device):
        system = tiny.sdg(device)
        reference = tiny.pictures(1, tiny.COLORED, seed=3)
        *_, last = system.generate(["a red star"], reference=reference, content=3.0, steps=2)
        return last.x, system.clip.encode_text(["a star"]).detach()

    alike(work)


def test_what_a_clip_says_of_pictures_and_sentences(alike):
    def work(device):
        clip = tiny.system("clip", device).eval()
        made, captions, _ = tiny.drawn(3, device)
        with torch.no_grad():
            return clip(made, captions), clip.encode_image(made), clip.tokens(captions)

    alike(work)


def test_an_encoder_begun_from_a_clip_lies_where_the_clip_lies(alike):
    def work(device):
        clip = tiny.system("clip", device).eval()
        untrained = tiny.system("noisy clip", device)
        untrained.begin_from(clip)
        x = tiny.normal(2, 3, 16, 16, device=device)
        with torch.no_grad():
            return NoisyCLIP.clean(clip).encode(x, 7), untrained.eval().encode(x, 7)

    alike(work)


def test_new_pictures_of_imagens_cascade(alike):
    def work(device):
        made = tiny.imagen(device).generate(["a red star", None], steps=2, level=0.3, eta=1.0)
        return list(made)

    alike(work)


def test_what_a_t5_says_of_sentences_and_fills_into_blanks(alike):
    def work(device):
        t5 = tiny.system("t5", device).eval()
        cond = t5.encode(["a red star", "a big blue moon above two discs"])
        assert t5.fill("a ___ star").startswith("a ")
        return cond.tokens, cond.mask, t5.pooled(["a red star"])

    alike(work)


def test_what_a_reader_finds_in_pictures(alike):
    def work(device):
        made, _, _ = tiny.drawn(6, device)
        reader = tiny.system("reader", device)
        nn.init.constant_(reader.present.bias, 0.5)  # untrained, it would see nothing
        seen = reader.read(made, batch=4)
        assert seen.present.any()
        return seen, seen.place, seen.relation

    alike(work)
