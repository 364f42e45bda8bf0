"""The reader of scenes: what its two looks are made of, and what the shipped one can do."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from labkit import scenes, zoo
from labkit.scenes import scores as metrics
from labkit.scenes.reader import Reader, ReaderConfig, Spots, augmented, tidied
from labkit.train import train

SMALL = ReaderConfig(width=8, deep=8, close=8)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Reader(SMALL)


def test_four_cells_hold_an_object_between_them_and_give_it_back(net):
    """What the loss asks for is what `spots` understands: the two are each other's way back."""
    truth = scenes.draw(400, 3, "all")
    share, cells = net.cells(truth)
    assert torch.allclose(share.sum(2), truth.present.float())
    grids = []
    for value in (share, truth.radius[..., None].expand_as(share)):
        flat = torch.zeros(400, 2 * 8 * 8)
        if value is share:
            flat.scatter_add_(1, cells.flatten(1), value.flatten(1))
        else:  # the radius in every cell that an object reaches, in the network's own units
            held = (share > 0).flatten(1)
            flat.scatter_add_(1, cells.flatten(1), ((value - 0.14) / 0.18).flatten(1) * held)
        grids.append(flat.view(400, 2, 8, 8))
    here, inside, at = net.spots(*grids)
    assert torch.equal(here.sum(1), truth.count)
    assert torch.equal((inside * here).sum(1), (truth.inside >= 0).sum(1))
    far = torch.hypot(
        truth.x[:, :, None] - at.x[:, None], truth.y[:, :, None] - at.y[:, None]
    ).masked_fill(~here[:, None], torch.inf)
    sheets = (truth.inside >= 0)[:, :, None] == inside.bool()[:, None]
    nearest = far.masked_fill(~sheets, torch.inf).min(2).values[truth.present]
    assert (nearest < 0.01).double().mean() > 0.98  # two in one cell are a little drawn together
    assert nearest.max() < 0.08


def test_what_is_cut_out_does_not_depend_on_where_it_stands_or_how_large_it_is(net):
    def pictures(x, radius, size):
        one = scenes.Object("star", "red", "large", "plain", x, 0.5, radius)
        return scenes.render(scenes.tensors([scenes.Scene((one,), "mint")]), size)

    def look(net, picture, x, radius):
        at = Spots(*(torch.tensor([value]) for value in (x, 0.5, radius)))
        return torch.cat(net.close_up(picture, torch.tensor([0]), at), 1)

    here = look(net, pictures(0.3125, 0.22, 32), 0.3125, 0.22)
    there = look(net, pictures(0.6875, 0.22, 32), 0.6875, 0.22)
    assert torch.allclose(here, there, atol=1e-5)
    sharp = Reader(ReaderConfig(256, 8, 8, 8))
    near, far = (look(sharp, pictures(0.5, r, 256), 0.5, r) for r in (0.22, 0.3))
    other = look(sharp, pictures(0.5, 0.22, 256), 0.6, 0.22)
    assert (near - far).abs().max() < 0.5 * (near - other).abs().max()


def test_what_lies_inside_belongs_to_the_nearest_object_around_it():
    def row(*values):
        return torch.tensor([values])

    found = tidied(scenes.Scenes(
        shape=row(4, -1, 0, 1), color=row(0, -1, 1, 2), size=row(0, -1, 1, 1),
        fill=row(0, -1, 0, 0), inside=row(1, -1, 0, 0), x=row(0.31, 0.9, 0.7, 0.3),
        y=row(0.3, 0.9, 0.7, 0.3), radius=row(0.5, 0.9, 0.3, 0.1), background=torch.tensor([0]),
    ))  # fmt: skip
    assert found.shape.tolist() == [[0, 1, 4, -1]] and found.inside.tolist() == [[-1, -1, 1, -1]]
    assert found.radius[0].tolist() == pytest.approx([0.3, 0.21, 0.16, 0])
    assert found.x[0].tolist() == pytest.approx([0.7, 0.3, 0.31, 0])
    assert [one.inside for one in found.objects()[0]] == [None, None, 1]


def test_the_loss_reaches_every_parameter_and_falls(net):
    batch = scenes.batches(8, 32, "all")(torch.Generator().manual_seed(0))
    net.loss(batch).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    steps = list(train(net, lambda generator: batch, 60, lr=1e-2, warmup=5))
    assert steps[-1].loss < 0.5 * steps[0].loss


@torch.no_grad()
def test_an_untrained_reader_reads_nonsense_without_complaint(net):
    net.present.bias.fill_(3.0)  # sees objects everywhere
    seen = net.read(torch.rand(5, 3, 32, 32) * 2 - 1, batch=2)
    assert seen.shape.shape == (5, 6) and (seen.count == 6).all()
    assert all(len(objects) == 6 for objects in seen.objects())
    net.present.bias.fill_(-30.0)
    seen = net.read(torch.zeros(3, 3, 32, 32))
    assert (
        seen.objects() == [(), (), ()] and not metrics.valid(seen, torch.zeros(3, 3, 32, 32)).any()
    )


def test_weathered_pictures_are_pictures_and_a_third_stays_as_it_was():
    pictures = scenes.render(scenes.draw(600, 0), 16)
    spoiled = augmented(pictures, torch.Generator().manual_seed(0))
    again = augmented(pictures, torch.Generator().manual_seed(0))
    assert torch.equal(spoiled, again) and spoiled.abs().max() <= 1
    change = (spoiled - pictures).square().mean((1, 2, 3)).sqrt()
    assert 0.28 < (change < 1e-6).double().mean() < 0.39 and change.max() < 0.3


@pytest.mark.parametrize("options", [
    {"size": 30}, {"size": 8}, {"width": 0}, {"deep": -1}, {"close": 1.5}, {"size": "32"},
])  # fmt: skip
def test_a_reader_that_cannot_be_built_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        ReaderConfig(**options)


@pytest.mark.parametrize(("pictures", "message"), [
    (torch.zeros(2, 3, 16, 16), "do not fit this reader"),
    (torch.zeros(2, 1, 32, 32), "do not fit this reader"),
    (torch.full((2, 3, 32, 32), 255.0), "pictures lie in"),
    (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "floating point"),
    (torch.zeros(3, 32, 32), "pictures are"),
    (None, "torch tensor"),
])  # fmt: skip
def test_what_is_no_picture_for_it_is_refused_in_one_sentence(net, pictures, message):
    with pytest.raises(ValueError, match=message) as caught:
        net.read(pictures)
    assert "\n" not in str(caught.value)


# The shipped ones


@pytest.fixture(scope="module", params=["reader-scenes", "reader-scenes-b"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def reader(name):
    return zoo.load(name)


@pytest.fixture(scope="module", params=["train", "unseen"])
def held_out(request, reader):
    """Scenes of a seed that training did not draw, and what the reader sees in them."""
    truth = scenes.draw(2000, 123_456_789, request.param)
    return truth, reader.read(scenes.render(truth, 32)), request.param


def test_it_is_small(name):
    assert (zoo.WEIGHTS / f"{name}.safetensors").stat().st_size < 2e6


def test_it_reads_every_attribute_of_clean_renders(held_out):
    truth, seen, _ = held_out
    scores = metrics.agreement(seen, truth)
    everything = scores.pop("everything")
    assert min(scores.values()) >= 0.99, scores
    assert everything >= 0.994  # measured: 0.996 on both splits


def test_sentences_are_found_in_their_own_pictures_and_not_in_others(held_out):
    truth, seen, split = held_out
    said = scenes.captions(truth, 7)
    own = metrics.caption_accuracy(seen, said)
    assert own.parts >= 0.99 and own.complete >= 0.97, str(own)
    other = metrics.caption_accuracy(seen, said[1:] + said[:1])
    assert other.complete < 0.12


def test_how_many_pictures_are_read_at_once_makes_no_difference(reader):
    pictures = scenes.render(scenes.draw(40, 1), 32)
    one, many = reader.read(pictures, batch=7), reader.read(pictures)
    assert all(torch.equal(a, b) for a, b in zip(one[:5], many[:5]))


BLUR = {"blur": lambda x, g: avg_pool2d(pad(x, [1] * 4, mode="replicate"), 3, stride=1)}
NOISE = {f"noise {std}": lambda x, g, std=std: (x + std * torch.randn(x.shape, generator=g))
         for std in (0.1, 0.2)}  # fmt: skip


@pytest.mark.parametrize(("spoiled", "least"), [
    ("blur", 0.93), ("noise 0.1", 0.985), ("noise 0.2", 0.97),
])  # fmt: skip
def test_it_still_reads_blurred_and_noisy_pictures(reader, spoiled, least):
    truth, generator = scenes.draw(1000, 987_654_321), torch.Generator().manual_seed(0)
    pictures = (BLUR | NOISE)[spoiled](scenes.render(truth, 32), generator).clamp(-1, 1)
    scores = metrics.agreement(reader.read(pictures), truth)
    scores.pop("everything")
    assert min(scores.values()) >= least, scores


def test_real_pictures_are_valid_and_spoiled_ones_are_not(reader):
    pictures = scenes.render(scenes.draw(500, 5, "all"), 32)
    halves = torch.cat([pictures[:, :, :, :16], pictures.roll(1, 0)[:, :, :, 16:]], 3)
    noise = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    share = {
        name: metrics.valid(reader.read(x), x).double().mean().item()
        for name, x in {"real": pictures, "halves": halves, "noise": noise}.items()
    }
    assert share["real"] > 0.98 and share["halves"] < 0.5 and share["noise"] == 0, share
