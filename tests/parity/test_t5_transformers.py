"""T5 against the one of the transformers library, at random weights: what the encoder says, what
the decoder says next, the loss, and the released tokenizer's tokens."""

import json
from dataclasses import replace

import pytest
import tokenizers
import torch

from labkit import hub
from labkit.nets.t5 import PAPER, T5Config, T5Net
from labkit.systems.t5 import shifted

transformers = pytest.importorskip("transformers")

SMALL = T5Config(
    vocabulary=60, width=20, hidden=36, depth=3, heads=3, head_width=8, decoder=2, sentinel=59
)


def theirs(config: T5Config, whole: bool) -> torch.nn.Module:
    """The transformers model of that configuration, every weight drawn at random, and of the size
    that T5 draws it: of larger queries one key would have all the weight of a softmax."""
    kind = transformers.T5ForConditionalGeneration if whole else transformers.T5EncoderModel
    told = transformers.T5Config(
        vocab_size=config.vocabulary, d_model=config.width, d_kv=config.head_width,
        d_ff=config.hidden, num_layers=config.depth, num_decoder_layers=config.decoder,
        num_heads=config.heads, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        dropout_rate=0.0, decoder_start_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):  # at full size its own way to draw takes seconds
        their = kind(told)
    their.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in their.named_parameters():
            std = 0.3 if parameter.ndim < 2 else parameter.shape[1] ** -0.5
            std *= config.head_width**-0.5 if name.endswith("Attention.q.weight") else 1
            parameter.normal_(0, std).add_(parameter.ndim < 2)
        their.shared.weight.normal_()
        for stack in [their.encoder, their.decoder] if whole else [their.encoder]:
            stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.normal_()
            stack.embed_tokens.weight = their.shared.weight
    return their.eval()


def ours(their, config: T5Config) -> T5Net:
    with torch.device("meta"):
        net = T5Net(config)
    names = hub.t5.t5_names(config)
    state = their.state_dict() | {"shared.weight": their.shared.weight}
    ignored = frozenset(state) - {name for group in names.values() for name in group}
    net.load_state_dict(
        hub.files.translated(state, names, net, "transformers", ignored), assign=True
    )
    return net.eval()


def texts(config: T5Config, *lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, config.vocabulary, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return ids * mask, mask


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(7, 4, 1), (160, 40)])  # beyond the last bucket, too
def test_the_encoder_says_the_same_of_every_real_token(lengths):
    torch.manual_seed(0)
    their = theirs(SMALL, whole=True)
    net = ours(their, SMALL)
    ids, mask = texts(SMALL, *lengths)
    expected = their.encoder(ids, attention_mask=mask.long()).last_hidden_state
    assert expected[mask].std() > 0.3
    assert (net(ids, mask) - expected)[mask].abs().max() < 1e-5


@torch.no_grad()
def test_at_v1_1_small_s_size_the_encoder_says_the_same_and_is_as_large():
    torch.manual_seed(0)
    config = PAPER["small"]
    their = theirs(config, whole=False)
    net = ours(their, config)
    ids, mask = texts(config, 24, 11)
    expected = their(ids, attention_mask=mask.long()).last_hidden_state
    assert expected[mask].std() > 0.3
    assert (net(ids, mask) - expected)[mask].abs().max() < 1e-5
    count = sum(weight.numel() for weight in their.parameters())
    assert sum(weight.numel() for weight in net.parameters()) == count == 35_332_800


@torch.no_grad()
def test_the_decoder_says_the_same_next_and_the_loss_is_the_same():
    torch.manual_seed(0)
    their = theirs(SMALL, whole=True)
    net = ours(their, SMALL)
    ids, mask = texts(SMALL, 9, 5)
    filling, real = texts(SMALL, 40, 17)
    labels = filling.masked_fill(~real, -100)
    expected = their(ids, attention_mask=mask.long(), labels=labels)
    logits = net.next(shifted(filling, 0), net(ids, mask), mask)
    assert expected.logits.std() > 0.3
    assert (logits - expected.logits)[real].abs().max() < 1e-5
    loss = torch.nn.functional.cross_entropy(logits[real], filling[real])
    assert abs(loss - expected.loss) < 1e-5
    count = sum(weight.numel() for weight in their.parameters())
    assert sum(weight.numel() for weight in net.parameters()) == count


# The tokenizer


TEXTS = [
    "a photo of a cat",
    "Two cats and three dogs, aren't they?",
    "ein K\u00e4se f\u00fcr 3,50 Euro",
    "a red star left of a blue circle; it is large",
    "donn\u00e9es, \u00e9l\u00e8ve, na\u00efvet\u00e9",
]
AWKWARD = [
    *TEXTS,
    "A PHOTO  of\ta\n cat  ",
    "12345 and 3.14 and 50%",
    "\u732b \U0001f408 and \u041f\u0440\u0438\u0432\u0435\u0442",
    "</s> inside, and <extra_id_0>, and <pad>",
    "a" * 40,
]


@pytest.fixture(scope="module")
def their_tokenizer():
    """A T5 tokenizer with a small vocabulary, learned here."""
    learner = tokenizers.Tokenizer(tokenizers.models.Unigram())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    learner.train_from_iterator(TEXTS * 5, trainer)
    words = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["vocab"]]
    words += [(f"<extra_id_{blank}>", 0.0) for blank in reversed(range(10))]
    return transformers.T5Tokenizer(vocab=words, extra_ids=10)


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_becomes_the_same_tokens(their_tokenizer, tmp_path, text):
    their_tokenizer.save_pretrained(tmp_path)
    reads = hub.t5.ReleasedT5Tokenizer(hub.files.read_words(tmp_path / "tokenizer.json"), 64)
    expected = their_tokenizer(text).input_ids
    tokens = reads.encode(text)
    assert tokens.ids.tolist() == [expected + [0] * (64 - len(expected))]
    assert tokens.mask.sum() == len(expected) and expected[-1] == reads.end == 1
    spoken = their_tokenizer.decode(expected, skip_special_tokens=True).strip()
    assert reads.decode(tokens.ids) == [spoken]


def test_a_saved_model_loads_with_its_tokenizer_and_says_the_same(their_tokenizer, tmp_path):
    torch.manual_seed(0)
    config = replace(SMALL, vocabulary=len(their_tokenizer), sentinel=len(their_tokenizer) - 1)
    their = theirs(config, whole=True)
    their.save_pretrained(tmp_path)
    their_tokenizer.save_pretrained(tmp_path)
    files = tmp_path / "model.safetensors", tmp_path / "tokenizer.json"
    encoder = hub.load_t5(*files, replace(config, decoder=0))
    cond = encoder.encode(TEXTS)
    read = their_tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = their.encoder(**read).last_hidden_state
    assert not encoder.training and torch.equal(cond.mask, read.attention_mask.bool())
    assert (cond.tokens - expected)[cond.mask].abs().max() < 1e-5
    assert not cond.tokens[~cond.mask].any()
    whole = hub.load_t5(*files, config)
    assert "___" not in whole.fill("a photo of a ___") and whole.fill("a ___ of").startswith("a ")
