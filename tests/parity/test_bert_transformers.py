"""BERT against the one of the transformers library, and its masked language model, at random
weights."""

import pytest
import torch

from labkit.nets.bert import Bert, BertConfig
from labkit.systems.bert import MaskedLM

transformers = pytest.importorskip("transformers")

CONFIG = BertConfig(vocabulary=60, context=12, width=24, depth=3, heads=4)


def theirs(kind):
    """Their model of that configuration, every weight drawn at random."""
    config = transformers.BertConfig(
        vocab_size=CONFIG.vocabulary,
        max_position_embeddings=CONFIG.context,
        hidden_size=CONFIG.width,
        num_hidden_layers=CONFIG.depth,
        num_attention_heads=CONFIG.heads,
        intermediate_size=4 * CONFIG.width,
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def copied(ours: Bert, their) -> None:
    """Their weights in ours: the first segment's embedding becomes part of every position's."""
    emb = their.embeddings
    ours.tokens.load_state_dict(emb.word_embeddings.state_dict())
    ours.pos_emb.weight.copy_(emb.position_embeddings.weight + emb.token_type_embeddings.weight[0])
    ours.norm.load_state_dict(emb.LayerNorm.state_dict())
    for block, layer in zip(ours.blocks, their.encoder.layer, strict=True):
        heads = layer.attention.self
        for name in ("weight", "bias"):
            qkv = [getattr(part, name) for part in (heads.query, heads.key, heads.value)]
            getattr(block.attention.qkv, name).copy_(torch.cat(qkv))
        block.attention.out.load_state_dict(layer.attention.output.dense.state_dict())
        block.norm1.load_state_dict(layer.attention.output.LayerNorm.state_dict())
        block.mlp[0].load_state_dict(layer.intermediate.dense.state_dict())
        block.mlp[2].load_state_dict(layer.output.dense.state_dict())
        block.norm2.load_state_dict(layer.output.LayerNorm.state_dict())


def texts():
    ids = torch.randint(0, 60, (4, 10), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(10) < torch.tensor([[10], [7], [3], [1]])


@torch.no_grad()
def test_every_word_s_vector_is_that_of_transformers():
    their, ours = theirs(transformers.BertModel), Bert(CONFIG).eval()
    copied(ours, their)
    ids, mask = texts()
    expected = their(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert expected.std() > 0.1
    assert torch.allclose(ours(ids, mask)[mask], expected[mask], atol=1e-5)


@torch.no_grad()
def test_the_guesses_at_hidden_words_are_those_of_transformers():
    their, ours = theirs(transformers.BertForMaskedLM), MaskedLM(CONFIG).eval()
    copied(ours.encoder, their.bert)
    head = their.cls.predictions
    ours.dense.load_state_dict(head.transform.dense.state_dict())
    ours.norm.load_state_dict(head.transform.LayerNorm.state_dict())
    ours.bias.copy_(head.bias)
    head.decoder.weight, head.decoder.bias = their.bert.embeddings.word_embeddings.weight, head.bias
    ids, mask = texts()
    expected = their(input_ids=ids, attention_mask=mask.long()).logits  # (B, L, vocabulary)
    places = torch.tensor([[0, 9], [6, 2], [2, 1], [0, 0]])
    wanted = torch.stack([row[at] for row, at in zip(expected, places)])
    assert torch.allclose(ours(ids, mask, places), wanted, atol=1e-5, rtol=1e-5)
