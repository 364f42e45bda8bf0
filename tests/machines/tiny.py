"""One tiny system of each kind, and batches for them: built on the CPU, then moved where asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from labkit import scenes
from labkit.conditioning import Conditioning
from labkit.data.masks import erased
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.classifier import Classifier, ClassifierConfig
from labkit.nets.noisy_classifier import NoisyClassifierConfig
from labkit.nets.prior import CodesConfig, PriorConfig
from labkit.nets.resnet import ResNetConfig
from labkit.nets.t5 import T5Config
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.nets.vit import ViTConfig
from labkit.scenes import tokenizer
from labkit.scenes.reader import Reader, ReaderConfig
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig
from labkit.systems.autoencoder import FirstStage, FirstStageConfig
from labkit.systems.autoregressive_prior import AutoregressivePrior, AutoregressivePriorConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.dalle2 import DALLE2
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.diffusion_prior import DiffusionPrior, DiffusionPriorConfig
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.imagen import Imagen
from labkit.systems.imagen_stage import ImagenConfig, ImagenStage
from labkit.systems.ldm import LDM, LDMConfig
from labkit.systems.sdg import SDG, NoisyCLIP, NoisyCLIPConfig
from labkit.systems.t5 import T5, Blanks
from labkit.systems.unclip_decoder import UnCLIPDecoder, UnCLIPDecoderConfig

T = 20
NET = UNetConfig(
    size=8,
    channels=1,
    width=8,
    multipliers=(1, 2),
    blocks=1,
    attention=(4,),
    groups=4,
    scale_shift_norm=True,
)
BY_CLASS = replace(NET, vector=3, residual_resampling=True, head_channels=4)
COLORED = replace(NET, size=16, channels=3, fold=2)
TOWER = ResNetConfig(size=16, width=8, blocks=(1, 1), heads=4, stem=1)
PATCHES = ViTConfig(size=16, patch=8, width=16, depth=1, heads=2)
WORDS = TextConfig(vocabulary=1009, context=32, width=16, depth=1, heads=2, end=1008)
SHRINKING = AutoencoderConfig(
    size=16, width=8, multipliers=(1, 2), blocks=1, latent=3, groups=4, fold=2
)
READS = T5Config(
    vocabulary=1025, width=8, hidden=12, depth=1, heads=2, head_width=4, decoder=1, sentinel=1024
)
BY_TEXT = replace(COLORED, size=8, vector=8, vector_bias=True, tokens=8)
LARGER_BY_TEXT = replace(
    BY_TEXT, size=16, fold=1, image=3, attention=(), mixer="cross", resample_first=True,
    skip_scale=0.5**0.5,
)  # fmt: skip
BY_WORDS = replace(COLORED, vector=16, vector_bias=True, tokens=16, residual_resampling=True)
LATENT = replace(
    NET, size=4, channels=3, multipliers=(1,), heads=2, scale_shift_norm=False, mixer="spatial"
)
BY_LATENT = LDMConfig(net=replace(LATENT, tokens=16), autoencoder=SHRINKING, text=WORDS, T=T)

SYSTEMS: dict[str, Callable[[], nn.Module]] = {
    "ddpm": lambda: DDPM(DDPMConfig(NET, T=T)),
    "ddpm, x0": lambda: DDPM(DDPMConfig(NET, T=T, predicts="x0")),
    "ddpm, learned variance": lambda: DDPM(
        DDPMConfig(replace(NET, learned_variance=True), T=T, predicts="v")
    ),
    "ddpm, scenes": lambda: DDPM(DDPMConfig(COLORED, T=T, predicts="x0")),
    "adm": lambda: ADM(ADMConfig(BY_CLASS, T=T)),
    "adm, learned variance": lambda: ADM(ADMConfig(replace(BY_CLASS, learned_variance=True), T=T)),
    "glide": lambda: GLIDE(GLIDEConfig(BY_WORDS, T=T, predicts="x0", text=WORDS)),
    "glide, learned variance": lambda: GLIDE(
        GLIDEConfig(replace(BY_WORDS, learned_variance=True), T=T, text=WORDS)
    ),
    "first stage": lambda: FirstStage(FirstStageConfig(SHRINKING)),
    "first stage, codebook": lambda: FirstStage(FirstStageConfig(replace(SHRINKING, codebook=9))),
    "first stage, judged": lambda: FirstStage(
        FirstStageConfig(SHRINKING, adversarial=0.5, judge=4, layers=1)
    ),
    "glide, inpaints": lambda: GLIDE(
        GLIDEConfig(replace(BY_WORDS, image=4), T=T, predicts="x0", text=WORDS, inpaints=True)
    ),
    "glide, upsamples": lambda: GLIDE(
        GLIDEConfig(replace(BY_WORDS, image=3), T=T, predicts="x0", text=WORDS, upsamples=8)
    ),
    "ldm": lambda: LDM(BY_LATENT),
    "ldm, smaller picture beside": lambda: LDM(
        replace(BY_LATENT, net=replace(LATENT, tokens=16, image=12), upsamples=8)
    ),
    "ldm, of classes": lambda: LDM(replace(BY_LATENT, text=None, classes=3)),
    "noisy guide": lambda: NoisyGuide(NoisyGuideConfig(NoisyClassifierConfig(NET, 3, 8), T=T)),
    "clip": lambda: CLIP(CLIPConfig(TOWER, WORDS, 6)),
    "clip, patches": lambda: CLIP(CLIPConfig(PATCHES, WORDS, 6)),
    "noisy clip": lambda: NoisyCLIP(NoisyCLIPConfig(TOWER, 6, hidden=8, T=T)),
    "prior, diffusion": lambda: DiffusionPrior(
        DiffusionPriorConfig(PriorConfig(6, 8, 32, width=16, depth=1, heads=2), 1009, T=T)
    ),
    "prior, codes": lambda: AutoregressivePrior(
        AutoregressivePriorConfig(CodesConfig(6, 1009, 32, 4, 8, 4, width=16, depth=1, heads=2))
    ),
    "unclip decoder": lambda: UnCLIPDecoder(
        UnCLIPDecoderConfig(GLIDEConfig(BY_WORDS, T=T, predicts="x0", text=WORDS), dim=6)
    ),
    "classifier": lambda: Classifier(ClassifierConfig(8, 1, 3, widths=(4, 8), dropout=0.0)),
    "classifier, features": lambda: Classifier(
        ClassifierConfig(8, 1, 3, widths=(4, 8), features=5, dropout=0.0)
    ),
    "t5": lambda: T5(READS),
    "imagen": lambda: ImagenStage(ImagenConfig(net=BY_TEXT, T=T, predicts="x0")),
    "imagen, larger": lambda: ImagenStage(
        ImagenConfig(net=LARGER_BY_TEXT, T=T, predicts="x0", upsamples=8, crop=8)
    ),
    "reader": lambda: Reader(ReaderConfig(size=16, width=8, deep=8, close=8)),
}


def system(name: str, device="cpu") -> nn.Module:
    """That system with the same weights at each call; none of its branches is silent."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        made = SYSTEMS[name]()
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.2)
        if isinstance(made, LDM):
            made.scale.fill_(0.5)
        if isinstance(made, AutoregressivePrior):
            image, text = (nn.functional.normalize(normal(32, 6, seed=k), dim=1) for k in (3, 4))
            made.fit(system("clip"), image, text)
    return made.to(device)


def sdg(device="cpu") -> SDG:
    return SDG(*(system(name, device).eval() for name in ("ddpm, scenes", "noisy clip", "clip")))


def dalle2(device="cpu") -> DALLE2:
    names = ("clip", "unclip decoder", "prior, diffusion", "prior, codes")
    return DALLE2(*(system(name, device).eval() for name in names))


def imagen(device="cpu") -> Imagen:
    parts = {"text": "t5", "base": "imagen", "larger": "imagen, larger"}
    return Imagen(**{part: system(name, device).eval() for part, name in parts.items()})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, device="cpu", seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed)).to(device)


def pictures(count: int, net: UNetConfig = NET, device="cpu", seed: int = 0) -> Tensor:
    made = torch.rand(count, net.channels, net.size, net.size, generator=generator(seed)) * 2 - 1
    return made.to(device)


def drawn(count: int, device="cpu", seed: int = 0) -> tuple[Tensor, list[str], scenes.Scenes]:
    """Pictures of scenes, 16 pixels a side, their sentences, and what is in them."""
    batch = scenes.batches(count, 16, "all")(generator(seed))
    truth = scenes.Scenes(*(x.to(device) for x in batch.scenes))
    return batch.pictures.to(device), batch.captions, truth


def batch(name: str, device="cpu", count: int = 4, seed: int = 0):
    """What the loss of that system takes."""
    labels = (torch.arange(count) % 3).to(device)
    if name.startswith("imagen"):
        side, mask = SYSTEMS[name]().config.net.size, torch.ones(count, 5, dtype=torch.bool).tril()
        text = Conditioning(tokens=normal(count, 5, 8, device=device), mask=mask.to(device))
        return pictures(count, replace(COLORED, size=side), device, seed), text
    if name == "t5":
        texts = tokenizer.load().encode(scenes.captions(scenes.draw(count, seed), seed))
        return Blanks(texts.ids.to(device), texts.mask.to(device), texts.ids[:, :9].to(device))
    if name.startswith("prior"):
        texts = tokenizer.load().encode(scenes.captions(scenes.draw(count, seed), seed))
        image, text = (nn.functional.normalize(normal(count, 6, seed=k), dim=1) for k in (1, 2))
        return tuple(field.to(device) for field in (image, text, *texts))
    if name == "unclip decoder":
        embedding = nn.functional.normalize(normal(count, 6, device=device), dim=1)
        return *drawn(count, device, seed)[:2], embedding
    if name.startswith("first stage"):
        return pictures(count, COLORED, device, seed)
    if name == "ldm, of classes":
        return pictures(count, COLORED, device, seed), labels
    if name.startswith(("ddpm, scenes", "clip", "noisy clip", "reader", "glide", "ldm")):
        made, captions, truth = drawn(count, device, seed)
        if name == "reader":
            return scenes.Captioned(made, captions, truth)
        if name == "glide, inpaints":
            return made, captions, erased(count, 16, generator(seed)).to(device)
        if name == "glide, upsamples":
            return made, captions, nn.functional.avg_pool2d(made, 2)
        if name == "noisy clip":
            return made, nn.functional.normalize(normal(count, 6, device=device), dim=1)
        return made if name == "ddpm, scenes" else (made, captions)
    gray = pictures(count, device=device, seed=seed)
    return gray if name.startswith("ddpm") else (gray, labels)
