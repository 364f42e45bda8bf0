"""Pooling of tokens: by the mean, and by a text-CNN; padding has no part in either."""

import torch

from labkit.nets.pooling import TextCNN, average


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(6) < torch.tensor([[6], [4], [3]])


def cnn() -> TextCNN:
    torch.manual_seed(0)
    return TextCNN(5, 7, 4)


def test_the_mean_is_over_what_is_there():
    x, mask = tokens()
    assert torch.allclose(average(x, mask)[2], x[2, :3].mean(0))
    assert torch.allclose(average(x, mask)[0], x[0].mean(0))


def test_what_stands_in_the_padding_never_enters_the_pooling():
    x, mask = tokens()
    loud = torch.where(mask[..., None], x, 1e4)
    net = cnn()
    assert torch.equal(average(loud, mask), average(x, mask))
    assert torch.equal(net(loud, mask), net(x, mask))
    assert torch.allclose(net(x[2:, :3], mask[2:, :3])[0], net(x, mask)[2], atol=1e-6)


def test_the_text_cnn_is_the_strongest_answer_of_each_filter_to_one_two_and_three_words():
    x, mask = tokens()
    net = cnn()
    words = x[1, :4]
    found = []
    for k, layer in zip((1, 2, 3), net.filters):
        windows = [torch.cat([*words[j : j + k]]) for j in range(4 - k + 1)]
        found.append(torch.stack([layer(window).relu() for window in windows]).amax(0))
    assert torch.allclose(net.out(torch.cat(found)), net(x, mask)[1], atol=1e-6)


def test_a_text_of_a_single_word_has_answers_to_one_word_only():
    x = torch.randn(1, 4, 5)
    net = cnn()
    answers = []
    net.out.register_forward_pre_hook(lambda module, inputs: answers.append(inputs[0]))
    net(x, torch.tensor([[True, False, False, False]]))
    assert answers[0][0, :7].any() and not answers[0][0, 7:].any()
