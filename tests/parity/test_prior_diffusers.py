"""The diffusion prior's transformer against the one of diffusers, with the same weights."""

import pytest
import torch

from labkit.conditioning import Conditioning
from labkit.nets.prior import PriorConfig, PriorTransformer

diffusers = pytest.importorskip("diffusers")

SMALL = PriorConfig(dim=12, tokens=12, context=9, width=32, depth=3, heads=4)


def theirs(config: PriorConfig):
    """The diffusers network of that configuration, with every parameter drawn at random."""
    net = diffusers.PriorTransformer(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        num_layers=config.depth,
        embedding_dim=config.dim,
        num_embeddings=config.context,
    )
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.5 if weight.dim() == 1 else weight.shape[-1] ** -0.5)
    return net.eval()


@torch.no_grad()
def copy(ours: PriorTransformer, their) -> None:
    pairs = [
        (ours.tokens, their.encoder_hidden_states_proj),
        (ours.text, their.embedding_proj),
        (ours.time[0], their.time_embedding.linear_1),
        (ours.time[2], their.time_embedding.linear_2),
        (ours.image, their.proj_in),
        (ours.norm, their.norm_out),
        (ours.out, their.proj_to_clip_embeddings),
    ]
    for block, other in zip(ours.transformer, their.transformer_blocks, strict=True):
        parts = (other.attn1.to_q, other.attn1.to_k, other.attn1.to_v)
        block.attention.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        block.attention.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        pairs += [
            (block.norm1, other.norm1),
            (block.attention.out, other.attn1.to_out[0]),
            (block.norm2, other.norm3),
            (block.mlp[0], other.ff.net[0].proj),
            (block.mlp[2], other.ff.net[2]),
        ]
    for own, other in pairs:
        own.load_state_dict(other.state_dict())
    ours.query.copy_(their.prd_embedding[0, 0])
    ours.pos_emb.copy_(their.positional_embedding[0])


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_the_same_weights_give_the_output_of_diffusers(padded):
    torch.manual_seed(0)
    their, ours = theirs(SMALL), PriorTransformer(SMALL).eval()
    copy(ours, their)
    x, t, text = torch.randn(3, 12), torch.tensor([1, 400, 999]), torch.randn(3, 12)
    tokens = torch.randn(3, 9, 12)
    lengths = [[9], [4], [1]] if padded else [[9]] * 3
    mask = torch.arange(9) < torch.tensor(lengths)  # theirs is causal only where it has one
    with torch.no_grad():
        expected = their(x, t, text, tokens, mask).predicted_image_embedding
        actual = ours(x, t, Conditioning(text, tokens, mask))
    assert expected.std() > 0.1
    assert (actual - expected).abs().max() < 1e-5 * max(1, expected.abs().max())


def test_at_the_default_it_has_the_parameters_of_diffusers_but_mean_and_deviation():
    """Karlo's prior standardizes embeddings by those two, 768 numbers each, where this one has the
    paper's single factor."""
    with torch.device("meta"):
        ours, their = PriorTransformer(PriorConfig()), diffusers.PriorTransformer()
    count = sum(weight.numel() for weight in ours.parameters())
    assert count + 2 * 768 == 1_022_030_080
    assert sum(weight.numel() for weight in their.parameters()) == 1_022_030_080
