"""A cascade of two tiny stages."""

from dataclasses import replace

import pytest
import torch

from labkit.systems.cascade import Cascade, shrunk
from labkit.systems.glide_inputs import fast27
from tests.systems.test_glide import (
    CONFIG,
    DISC,
    NET,
    STAR,
    UPSAMPLES,
    awake,
    half_known,
    pictures,
)

SMALL = replace(CONFIG, net=replace(NET, size=8, attention=(4,)))


def cascade():
    return Cascade(base=awake(SMALL), upsampler=awake(UPSAMPLES, seed=1))


def test_each_stage_draws_in_its_size_and_its_states_say_which_it_is():
    states = list(cascade().generate([STAR, DISC], steps={"base": 3, "upsampler": 2}))
    assert [state.stage for state in states] == ["base"] * 3 + ["upsampler"] * 2
    assert [state.x.shape[-1] for state in states] == [8, 8, 8, 16, 16]
    assert [state.t for state in states].count(0) == 2


def test_the_second_stage_is_the_upsampler_asked_about_what_the_first_drew():
    made, generator = cascade(), torch.Generator().manual_seed(5)
    *_, low = made.stages["base"].generate([STAR], steps=3, seed=generator)
    *_, high = made.stages["upsampler"].generate([STAR], steps=2, seed=generator, low=low.pictures)
    *_, last = made.generate([STAR], steps={"base": 3, "upsampler": 2}, seed=5)
    assert torch.equal(last.x, high.x)


def test_no_two_stages_begin_from_the_same_noise():
    made = Cascade(base=awake(SMALL))
    generator = torch.Generator().manual_seed(0)
    first, second = (list(made.stages["base"].generate([STAR], seed=generator)) for _ in range(2))
    assert not torch.equal(first[0].x, second[0].x)
    assert torch.equal(first[0].x, next(iter(made.generate([STAR], seed=0))).x)


def test_scales_may_differ_and_a_stage_without_one_has_its_own_default():
    """The base model is guided, the upsampler is not."""
    made = cascade()
    plain, same, named, other, both = (
        list(made.generate([STAR], steps=2, scale=scale))[-1].x
        for scale in (None, {"base": 3.0}, {"base": 3.0, "upsampler": 1.0}, {"base": 1.0}, 3.0)
    )
    assert torch.equal(plain, same) and torch.equal(plain, named)
    assert not torch.equal(plain, other) and not torch.equal(plain, both)


def test_unless_told_the_base_takes_25_steps_and_the_upsampler_the_authors_27():
    states = list(cascade().generate([STAR]))
    assert [state.stage for state in states] == ["base"] * 25 + ["upsampler"] * 27
    assert [state.t for state in states[25:]] == fast27(50)[1:]


def test_known_pixels_are_known_to_every_stage_and_stay_bit_for_bit():
    made = Cascade(base=awake(SMALL), upsampler=awake(UPSAMPLES))
    image = pictures()
    states = list(made.generate([STAR, DISC], steps=2, known=(image, half_known())))
    low, high = states[1].x, states[-1].x
    assert torch.equal(high[..., :8], image[..., :8])
    assert torch.allclose(low[..., :4], shrunk((image, half_known()), 8)[0][..., :4])
    odd = half_known().clone()
    odd[..., 7] = 0
    assert shrunk((image, odd), 8)[1].sum() == 8 * 3


def test_stages_that_do_not_fit_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="at least"):
        Cascade()
    with pytest.raises(ValueError, match="matching sizes"):
        Cascade(base=awake(), upsampler=awake(UPSAMPLES))
    with pytest.raises(ValueError, match="matching sizes"):
        Cascade(upsampler=awake(UPSAMPLES))
    with pytest.raises(ValueError, match="upsampler"):
        cascade().generate([STAR], steps={"upsample": 3})
    with pytest.raises(ValueError, match="names no stage"):
        cascade().generate([STAR], scale={})
    with pytest.raises(ValueError, match="the mask"):
        cascade().generate([STAR], known=(pictures(1), half_known(8)))
    with pytest.raises(ValueError, match="zebra"):
        cascade().generate(["a zebra"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": {"upsampler": 10**6}}, "steps"),
        ({"scale": {"upsampler": float("nan")}}, "scale"),
        ({"low": pictures(size=8)}, "leave out low"),
        ({"known": (None, half_known())}, "known picture"),
    ],
)
def test_what_a_later_stage_cannot_do_is_said_at_the_call(options, says):
    with pytest.raises(ValueError, match=says):
        cascade().generate([STAR, DISC], **options)


def test_one_known_picture_and_a_mask_for_each_prompt():
    masks = torch.cat([half_known(), 1 - half_known()])
    *_, final = cascade().generate([STAR, DISC], steps=2, known=(pictures(1), masks))
    assert torch.equal(final.x[0, ..., :8], pictures(1)[0, ..., :8])
    assert torch.equal(final.x[1, ..., 8:], pictures(1)[0, ..., 8:])
