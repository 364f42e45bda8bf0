"""The drawings of lesson 10: two clouds, what PCA loses, and one sentence's many embeddings."""

import pytest
import torch
import torch.nn.functional as F

from labkit.lab import dalle2_plot, plots
from labkit.systems.embedding_codes import components_for, pca_error


def unit(rows, D=6, seed=0):
    return F.normalize(torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)), dim=1)


def title(axes):
    """Wherever the style of the process has put it."""
    return axes.get_title(loc="left") or axes.get_title()


def drawn_by(function, *inputs):
    figure, axis = plots.subplots()
    axis.remove()
    function(figure, *inputs)
    return figure


def test_rows_are_as_alike_as_their_pairs():
    z = unit(7)
    cosine = z @ z.T
    pairs = cosine[~torch.eye(7, dtype=torch.bool)]
    assert dalle2_plot.alike(z) == pytest.approx(pairs.mean().item(), abs=1e-6)
    assert dalle2_plot.alike(z[:1].expand(5, -1)) == pytest.approx(1)


def test_a_regression_finds_what_the_sentence_decides_and_else_the_mean_which_is_shorter():
    text = unit(200, seed=1)
    decided = F.normalize(text @ torch.linalg.qr(unit(6, seed=2)).Q, dim=1)
    found = dalle2_plot.regression(text, decided)(text)
    assert found.dtype == text.dtype and (F.normalize(found, dim=1) * decided).sum(1).min() > 0.999
    two = text[:4].repeat(100, 1)  # each sentence fits pictures of two kinds, at right angles
    kinds = torch.stack([torch.eye(6)[0], torch.eye(6)[1]]).repeat_interleave(200, 0)
    mean = dalle2_plot.regression(two, kinds)(text[:4])
    torch.testing.assert_close(mean, kinds.mean(0).expand(4, -1), atol=1e-3, rtol=0)
    assert mean.norm(dim=1).max() < 0.8


def test_sentences_that_all_lie_in_a_plane_have_an_answer():
    text = F.normalize(unit(50, seed=3) * torch.tensor([1.0, 1, 0, 0, 0, 0]), dim=1)
    assert dalle2_plot.regression(text, unit(50))(text).isfinite().all()


def test_the_gap_lies_along_the_first_axis_and_the_breadth_along_the_second():
    gap, broad = torch.eye(6)[0], torch.eye(6)[1]
    spread = 0.01 * torch.randn(2, 400, 6, generator=torch.Generator().manual_seed(1))
    spread += torch.randn(2, 400, 1, generator=torch.Generator().manual_seed(2)) * broad
    image, text = spread[0] + gap, spread[1] - gap
    one, two = dalle2_plot.across_gap(image, text)
    assert one.shape == two.shape == (400, 2)
    centers = one.mean(0), two.mean(0)
    assert (centers[0] + centers[1]).abs().amax() < 1e-4
    whole = (image.mean(0) - text.mean(0)).norm()
    assert (centers[0] - centers[1])[0].item() == pytest.approx(whole.item(), rel=1e-4)
    assert one[:, 1].std() > 0.9 and torch.cat([one, two]).isfinite().all()


def test_both_clouds_and_three_kinds_of_pairs_are_drawn():
    image = unit(50, seed=1)
    text = F.normalize(image + 0.3 * unit(50, seed=2), dim=1)
    left, right = drawn_by(dalle2_plot.draw_gap, image, text).axes
    assert [len(each.get_offsets()) for each in left.collections] == [50, 50]
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["a picture, its sentence", "a picture, another's", "two pictures"]
    heights = [patch.get_data().values for patch in right.patches]
    assert [float(each.sum()) for each in heights] == pytest.approx([1, 1, 1], abs=1e-5)
    near, other, _ = ((each * (dalle2_plot.BINS[1:].numpy())).sum() for each in heights)
    assert near > other + 0.5


def test_the_number_of_components_is_marked_where_the_limit_is_reached():
    vectors = unit(300, 6) * torch.tensor([5.0, 3.0, 1.0, 0.1, 0.05, 0.01])
    _, axes = plots.subplots()
    dalle2_plot.draw_pca_error(axes, {"pictures": pca_error(vectors)}, 0.02)
    (label,) = [text.get_text() for text in axes.get_legend().get_texts()]
    count = components_for(vectors, 0.02)
    assert label == f"pictures: {count}"
    curve, mark, dotted = axes.lines
    assert list(mark.get_xdata()) == [count] and set(dotted.get_ydata()) == {0.02}
    assert len(curve.get_xdata()) == 6 and axes.get_yscale() == "log"
    assert "2%" in title(axes)


def test_a_regression_is_one_star_and_has_nothing_but_itself_to_be_compared_with():
    real, drawn = unit(30, seed=1), unit(20, seed=2)
    mean = F.normalize(real.mean(0, keepdim=True), dim=1).expand(12, -1)
    left, right = drawn_by(
        dalle2_plot.draw_posterior, real, {"prior": drawn, "regression": mean}
    ).axes
    assert [len(each.get_offsets()) for each in left.collections] == [30, 20, 1]
    assert len(right.patches) == 2 and [set(line.get_xdata()) for line in right.lines] == [{1.0}]
    figure = left.figure
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["real pictures", "prior", "regression"]
    own = torch.tensor(left.collections[0].get_offsets())
    assert own.mean(0).abs().amax() < 1e-5
