"""Pictures of scenes: the same scene at every size, clean edges, colors that all can tell apart."""

import itertools
import math
import time

import pytest
import torch
from torch.nn.functional import avg_pool2d

from labkit import scenes
from labkit.scenes import rendering as renderer


def points(n=401, reach=1.2):
    at = torch.linspace(-reach, reach, n)
    return at[None].expand(n, n), at[:, None].expand(n, n)


# Areas of the outlines, computed by hand from their corners and arcs (unit circle: pi).
AREAS = {
    "circle": math.pi * 0.9**2,
    "square": 1.4**2,
    "triangle": 0.87 * 1.49,
    "diamond": 2 * 0.84,
    "star": 10 * 0.5 * 0.53 * math.sin(math.pi / 5),
    "heart": 2 * 0.75**2 + math.pi * (0.75 / math.sqrt(2)) ** 2,
    "cross": 2 * (4 * 0.92 * 0.33) - (2 * 0.33) ** 2,
}


@pytest.mark.parametrize("outline", renderer.DISTANCES, ids=lambda f: f.__name__)
def test_every_shape_lies_in_its_circle_and_its_distance_never_overstates(outline):
    u, v = points()
    distance = outline(u, v).expand_as(v)
    assert torch.hypot(u, v)[distance < 0].max() <= 1.0 + 1e-6
    # |d(p) - d(q)| <= |p - q|: no faster than the points themselves, or edges would be too sharp
    step = (u[0, 1] - u[0, 0]).item()
    for axis in (0, 1):
        assert distance.diff(dim=axis).abs().max() <= step * 1.001
    name = outline.__name__
    if name in AREAS:
        covered = renderer.covered(distance, step).sum().item() * step**2
        assert covered == pytest.approx(AREAS[name], rel=0.003)


def test_the_mean_of_the_stripes_over_a_pixel_is_exact():
    middle = torch.linspace(-0.4, 0.4, 57, dtype=torch.float64)
    for pixel in (1 / 8, 1 / 32, 1 / 128):
        inner = middle[:, None] + pixel * ((torch.arange(4000) + 0.5) / 4000 - 0.5)
        wave = (torch.remainder(inner / renderer.STRIPE + 0.25, 1) < 0.5).double().mean(1)
        assert torch.allclose(renderer.stripes(middle, pixel), wave, atol=1e-3)


def test_pictures_have_the_shape_and_range_of_all_others():
    pictures = scenes.render(scenes.draw(50, 0), 32)
    assert pictures.shape == (50, 3, 32, 32) and pictures.dtype == torch.float32
    assert pictures.min() >= -1 and pictures.max() <= 1


def test_each_picture_depends_on_its_own_scene_alone():
    drawn = scenes.draw(9, 1)
    alone = torch.cat([scenes.render(drawn.take(slice(k, k + 1)), 24) for k in range(9)])
    assert torch.equal(scenes.render(drawn, 24), alone)


def test_the_same_scene_at_another_size_is_the_same_picture():
    drawn = scenes.draw(200, 2)
    pictures = {size: scenes.render(drawn, size) for size in (16, 32, 64, 128)}
    for small, large in itertools.pairwise(pictures):
        gap = (avg_pool2d(pictures[large], 2) - pictures[small]).abs()
        assert gap.mean() < 0.004, small
        assert gap.amax() < 0.35, small  # at a corner, of a range of 2


def test_what_lies_inside_is_drawn_within_the_outer_object():
    drawn = scenes.draw(800, 3)
    rows = (drawn.inside[:, 1] == 0).nonzero()[:, 0]
    assert len(rows) > 60
    at = (torch.arange(96) + 0.5) / 96
    outer, inner = (renderer.draw(drawn, rows, slot, at, 1 / 96)[0][:, 0] > 0.5 for slot in (0, 1))
    for row, (o, i) in zip(rows.tolist(), zip(outer, inner)):
        shape = renderer.DISTANCES[int(drawn.shape[row, 0])]
        x, y, r = (float(t[row, 0]) for t in (drawn.x, drawn.y, drawn.radius))
        within = shape(((at - x) / r)[None], ((y - at) / r)[:, None]) < 0
        assert within[i].all()
        if drawn.fill[row, 0] == scenes.FILLS.index("outlined"):
            assert not (o & i).any()  # it does not touch the ring either


def test_a_plain_object_has_its_color_and_the_rest_is_background():
    one = scenes.Object("square", "blue", "large", "plain", 0.5, 0.5, 0.25)
    picture = scenes.render(scenes.tensors([scenes.Scene((one,), "sand")]), 64)[0]
    blue, sand = (
        table[names.index(word)] * 2 - 1
        for table, names, word in (
            (renderer.COLOR_TABLE, scenes.COLORS, "blue"),
            (renderer.SOFT_TABLE, scenes.BACKGROUNDS, "sand"),
        )
    )
    assert torch.allclose(picture[:, 32, 32], blue, atol=1e-6)
    assert (picture[:, ::63, ::63].flatten(1) - sand[:, None]).abs().max() <= renderer.FADE + 0.01


def ink(shape, size=64, x=0.5, y=0.5, radius=0.25):
    """How much of each pixel that plain object covers, (size, size)."""
    one = scenes.Object(shape, "brown", "large", "plain", x, y, radius)
    drawn = scenes.tensors([scenes.Scene((one,), "sand")])
    at = (torch.arange(size) + 0.5) / size
    return renderer.draw(drawn, torch.tensor([0]), 0, at, 1 / size)[0][0, 0]


@pytest.mark.parametrize("shape", AREAS)
def test_pixels_add_up_to_the_area_of_the_shape_at_every_size(shape):
    wanted = AREAS[shape] * 0.25**2
    for size, least in ((16, 0.04), (64, 0.006), (256, 0.002)):
        # an outline that goes through pixels anywhere, not only along their edges
        inks = [ink(shape, size, 0.5 + 0.013 * k, 0.5 - 0.009 * k).sum() for k in range(5)]
        assert sum(inks) / 5 / size**2 == pytest.approx(wanted, rel=least), size


def test_shapes_stand_upright_and_where_they_should():
    rows, columns = torch.arange(64)[:, None], torch.arange(64)[None, :]

    def middle(shape, **where):
        covered = ink(shape, **where)
        return tuple(float((covered * at).sum() / covered.sum()) for at in (rows, columns))

    low, high = (ink("triangle")[half].sum() for half in (slice(32, 64), slice(0, 32)))
    assert low > high  # a triangle rests on its side,
    low, high = (ink("heart")[half].sum() for half in (slice(32, 64), slice(0, 32)))
    assert low < high  # a heart stands on its tip,
    assert ink("star")[:20, 31:33].sum() > ink("star")[44:, 31:33].sum()  # a star points upwards
    assert middle("moon")[1] < 31  # and a moon opens to the right
    down, right = middle("circle", x=0.3, y=0.6)
    assert right == pytest.approx(0.3 * 64 - 0.5, abs=0.05)
    assert down == pytest.approx(0.6 * 64 - 0.5, abs=0.05)


def test_each_fill_looks_as_its_name_says():
    shares, background = {}, None
    for fill in scenes.FILLS:
        one = scenes.Object("square", "blue", "large", fill, 0.5, 0.5, 0.3)
        picture = scenes.render(scenes.tensors([scenes.Scene((one,), "sand")]), 128)[0]
        within = picture[:, 48:80, 48:80]  # well inside the square, and inside its outline
        blue = renderer.COLOR_TABLE[scenes.COLORS.index("blue")] * 2 - 1
        far = (within - blue[:, None, None]).square().sum(0).sqrt()
        shares[fill] = (far < 0.05).double().mean().item()
        beside = picture[:, 64, 35]  # just outside of the square, in its shadow
        assert (beside < picture[:, 64, 2] - 0.02).all()
        light = within[:, far > 0.05]
        if fill == "outlined":
            background = picture[:, 64, 2]
            assert (light - background[:, None]).abs().max() < 0.05  # hollow
        elif fill != "plain":
            tint = blue + renderer.TINT * (1 - blue)
            assert (light - tint[:, None]).abs().amax(0).min() < 0.01
            # the rim of a pattern has the object's own color all along
            rim = picture[:, 40:88, round(128 * (0.5 - 0.7 * 0.3)) + 1]
            assert (rim - blue[:, None]).abs().max() < 0.05
    assert shares["plain"] == 1 and shares["outlined"] == 0
    assert 0.4 < shares["striped"] < 0.6
    dot = math.pi * renderer.DOT**2 / renderer.SPACING**2
    assert 1 - shares["dotted"] == pytest.approx(dot, abs=0.1)


@pytest.mark.parametrize("size", [7, 513, 0, -8, 3.5, None, "32"])
def test_a_size_that_cannot_be_drawn_gets_one_sentence(size):
    with pytest.raises(ValueError, match="^size is [^\n]+from 8 to 512$"):
        scenes.render(scenes.draw(1), size)


# How a color looks to somebody without red, green or blue cones (Machado et al. 2009, table 1,
# severity 1, on linear RGB).
EYES = {
    "all cones": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                     [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                       [-0.011820, 0.042940, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                      [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
       [0.0193339, 0.1191920, 0.9503041]]  # fmt: skip


def lab(rgb, eyes):
    """CIELAB of sRGB colors (K, 3) as those eyes see them."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = (linear @ torch.tensor(eyes).T).clamp(0, 1)
    xyz = linear @ torch.tensor(XYZ).T / torch.tensor([0.95047, 1, 1.08883])
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.mark.parametrize("eyes", EYES)
def test_any_two_colors_can_be_told_apart_whatever_the_eyes(eyes):
    colors = lab(renderer.COLOR_TABLE, EYES[eyes])
    gaps = torch.pdist(colors)
    assert gaps.min() > (40 if eyes == "all cones" else 13)  # 2.3 is the least one can notice
    soft = lab(renderer.SOFT_TABLE, EYES[eyes])
    assert torch.cdist(colors, soft).min() > 11 and torch.pdist(soft).min() > 3
    assert soft[:, 0].min() > 85  # every background is light


def test_rendering_is_fast_enough_for_training_without_stored_pictures():
    """2,000 a second on two cores are promised, so 1,000 on one; a busy machine may halve it."""
    drawn = scenes.draw(256, 0)
    scenes.render(drawn, 32)
    seconds = []
    for _ in range(5):
        started = time.process_time()
        scenes.render(drawn, 32)
        seconds.append(time.process_time() - started)
    assert 256 / min(seconds) > 500
