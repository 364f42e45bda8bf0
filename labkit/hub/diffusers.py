"""The names that the diffusers library, and so most released files, give to the tensors of latent
diffusion's networks."""

from __future__ import annotations

from torch import Tensor, nn

from labkit.inputs import listed
from labkit.nets.autoencoder import Autoencoder
from labkit.nets.unet import UNet

# Inside of a layer: ours on the left, theirs on the right. What is one matrix here and several
# there is laid together in that order.
RESIDUAL = {
    "norm1": ["norm1"], "conv1": ["conv1"], "emb": ["time_emb_proj"],
    "norm2": ["norm2"], "conv2": ["conv2"], "skip": ["conv_shortcut"],
}  # fmt: skip
PIXELS = {"norm": ["group_norm"], "qkv": ["to_q", "to_k", "to_v"], "out": ["to_out.0"]}
SPATIAL = {"norm": ["norm"], "proj_in": ["proj_in"], "proj_out": ["proj_out"]}
BLOCK = {
    "norm1": ["norm1"],
    "attention.qkv": ["attn1.to_q", "attn1.to_k", "attn1.to_v"],
    "attention.out": ["attn1.to_out.0"],
    "norm_cross": ["norm2"],
    "cross.q": ["attn2.to_q"],
    "cross.kv": ["attn2.to_k", "attn2.to_v"],
    "cross.out": ["attn2.to_out.0"],
    "norm2": ["norm3"],
    "mlp.inner": ["ff.net.0.proj"],
    "mlp.out": ["ff.net.2"],
}
RESAMPLE = {"conv": ["conv"]}
# Earlier versions of the library had other names for an autoencoder's attention.
EARLIER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

Modules = dict[str, list[str]]  # a module here, and the one or several that it is there


def under(ours: str, theirs: str, table: Modules) -> Modules:
    """The table of a layer that is called so here, and so there."""
    return {f"{ours}.{own}": [f"{theirs}.{name}" for name in names] for own, names in table.items()}


def spatial(ours: str, theirs: str, depth: int) -> Modules:
    """A `SpatialTransformer` of that depth."""
    found = under(ours, theirs, SPATIAL)
    for block in range(depth):
        found |= under(f"{ours}.blocks.{block}", f"{theirs}.transformer_blocks.{block}", BLOCK)
    return found


def of_tensors(model: nn.Module, modules: Modules) -> dict[str, list[str]]:
    """Every tensor of the model: its name here, and its name or names there. Raises ValueError for
    a model that has others than theirs."""
    parted = {name: name.rpartition(".") for name in model.state_dict()}
    if unknown := [name for name, (module, *_) in parted.items() if module not in modules]:
        raise ValueError(
            f"this {type(model).__name__} has tensors that no file of the diffusers library has "
            f"({listed(unknown, 3)}): give a configuration of the released form"
        )
    return {
        name: [f"{theirs}.{kind}" for theirs in modules[module]]
        for name, (module, _, kind) in parted.items()
    }


def unet_names(model: UNet) -> dict[str, list[str]]:
    """Of a U-Net with spatial transformers: `UNet2DConditionModel`."""
    c = model.config
    found = {
        "time.0": ["time_embedding.linear_1"], "time.2": ["time_embedding.linear_2"],
        "conv_in": ["conv_in"], "conv_out.0": ["conv_norm_out"], "conv_out.2": ["conv_out"],
    }  # fmt: skip
    found |= under("middle.0", "mid_block.resnets.0", RESIDUAL)
    found |= spatial("middle.1", "mid_block.attentions.0", c.depth)
    found |= under("middle.2", "mid_block.resnets.1", RESIDUAL)

    def stage(ours: str, theirs: str, block: int, looks: bool) -> Modules:
        found = under(f"{ours}.0", f"{theirs}.resnets.{block}", RESIDUAL)
        if looks:
            found |= spatial(f"{ours}.1", f"{theirs}.attentions.{block}", c.depth)
        return found

    levels, row = len(c.multipliers), 0
    looks = [c.size // c.fold // 2**level in c.attention for level in range(levels)]
    for level in range(levels):
        for block in range(c.level_blocks[level]):
            found |= stage(f"down.{row}", f"down_blocks.{level}", block, looks[level])
            row += 1
        if level < levels - 1:
            found |= under(f"down.{row}.0", f"down_blocks.{level}.downsamplers.0", RESAMPLE)
            row += 1
    row = 0
    for place, level in enumerate(reversed(range(levels))):
        for block in range(c.level_blocks[level] + 1):
            found |= stage(f"up.{row}", f"up_blocks.{place}", block, looks[level])
            row += 1
        if level > 0:
            last = f"up.{row - 1}.{1 + looks[level]}"
            found |= under(last, f"up_blocks.{place}.upsamplers.0", RESAMPLE)
    return of_tensors(model, found)


def autoencoder_names(model: Autoencoder) -> dict[str, list[str]]:
    """Of an autoencoder: `AutoencoderKL`, or `VQModel` for one with a codebook."""
    c = model.config
    found = {"quant_conv": ["quant_conv"], "post_quant_conv": ["post_quant_conv"]}
    found |= {"codebook.entries": ["quantize.embedding"]}
    levels = range(len(c.multipliers))
    down, up = [("conv_in", None)], [("conv_in", None)]
    middle = [("mid_block.resnets.0", RESIDUAL)]
    middle += [("mid_block.attentions.0", PIXELS)] * c.attention
    middle += [("mid_block.resnets.1", RESIDUAL)]
    for level in levels:
        down += [(f"down_blocks.{level}.resnets.{i}", RESIDUAL) for i in range(c.blocks)]
        if level < levels[-1]:
            down += [(f"down_blocks.{level}.downsamplers.0", RESAMPLE)]
    down += middle
    up += middle
    for place in levels:
        up += [(f"up_blocks.{place}.resnets.{i}", RESIDUAL) for i in range(c.blocks + 1)]
        if place < levels[-1]:
            up += [(f"up_blocks.{place}.upsamplers.0", RESAMPLE)]
    for part, rows in (("encoder", down), ("decoder", up)):
        rows = [*rows, ("conv_norm_out", None), ("conv_act", None), ("conv_out", None)]
        for row, (theirs, table) in enumerate(rows):
            ours, theirs = f"{part}.{row}", f"{part}.{theirs}"
            found |= {ours: [theirs]} if table is None else under(ours, theirs, table)
    return of_tensors(model, found)


def as_today(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file under the names of today, and each convolution of 1 x 1 that is a
    linear map here as one."""
    found = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        above, _, last = module.rpartition(".")
        if ".attentions." in name and last in EARLIER:
            name = f"{above}.{EARLIER[last]}.{kind}"
        linear = tensor.ndim == 4 and last in ("proj_in", "proj_out")
        found[name] = tensor.flatten(1) if linear else tensor
    return found
