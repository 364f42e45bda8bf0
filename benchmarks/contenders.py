"""Who takes part: each trains on batches of digits in [−1, 1] and samples by DDIM.

All get about the same number of parameters, AdamW or Adam, a learning rate that rises over 100
steps and falls along a cosine until the time is up, clipping at 1, and an average of the weights.
What differs is what differs between the libraries when they are used as their guides say.
"""

from __future__ import annotations

import math
import sys
import types
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

CHUNK = 250  # pictures sampled at once


class Labkit:
    """The recipe of `ddpm-digits`, as the zoo has it, through labkit's own loop; for a run of a
    minute in larger batches at a higher rate, which short trials preferred."""

    batch, lr = 256, 4e-3

    def __init__(self):
        from labkit import zoo

        self.recipe = zoo.recipe("ddpm-digits")
        self.system = zoo.build("ddpm-digits")
        self.net = self.system.denoiser.net

    def start(self, images: Tensor, steps: int) -> None:
        from labkit import train

        self.count = 0
        settings = {**self.recipe.training, "steps": steps, "lr": self.lr}
        batches = train.shuffled(images, batch=self.batch)
        self.steps = train.train(self.system, batches, **settings)

    def step(self) -> None:
        self.count, _, _, self.ema = next(self.steps)

    def averaged(self) -> torch.nn.Module:
        return deepcopy(self.ema)

    def sample(self, system, n: int, steps: int, seed: int) -> Tensor:
        chunks = []
        for index, size in enumerate(sizes(n)):
            *_, last = system.generate(size, steps=steps, seed=seed + index)
            chunks.append(last.x)
        return torch.cat(chunks)


class Peer:
    """A loop as in the libraries' guides; subclasses say what the loss is and how to sample."""

    batch = 64
    lr = 1e-3

    def start(self, images: Tensor, steps: int) -> None:
        self.images, self.count, self.steps = images, 0, steps
        self.ema = self.make_ema()
        self.optimizer = self.make_optimizer()

    def make_optimizer(self):
        return torch.optim.AdamW(self.net.parameters(), lr=self.lr)

    def step(self) -> None:
        rise = min(1, (self.count + 1) / 100)
        fall = (1 + math.cos(math.pi * min(1, self.count / self.steps))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * rise * fall
        rows = torch.randint(len(self.images), (self.batch,))
        loss = self.loss(self.images[rows])
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.update_ema()
        self.count += 1


class Diffusers(Peer):
    """UNet2DModel, DDPMScheduler, EMAModel, DDIMScheduler; float32 or bf16 autocast."""

    def __init__(self, bf16: bool = False):
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

        self.bf16 = bf16
        self.net = UNet2DModel(
            sample_size=16,
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=(40, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
        )
        noise = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
        self.noise, self.ddim = DDPMScheduler(**noise), DDIMScheduler(**noise, clip_sample=True)

    def autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16)

    def loss(self, clean: Tensor) -> Tensor:
        eps = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),))
        with self.autocast():
            out = self.net(self.noise.add_noise(clean, eps, t), t, return_dict=False)[0]
        return mse_loss(out.float(), eps)

    def make_ema(self):
        from diffusers.training_utils import EMAModel

        return EMAModel(self.net.parameters(), decay=0.999, use_ema_warmup=False)

    def update_ema(self) -> None:
        self.ema.step(self.net.parameters())

    def averaged(self) -> torch.nn.Module:
        net = deepcopy(self.net).eval()
        self.ema.copy_to(net.parameters())
        return net

    @torch.no_grad()
    def sample(self, net, n: int, steps: int, seed: int) -> Tensor:
        generator, chunks = torch.Generator().manual_seed(seed), []
        self.ddim.set_timesteps(steps)
        for size in sizes(n):
            x = torch.randn(size, 1, 16, 16, generator=generator)
            for t in self.ddim.timesteps:
                with self.autocast():
                    out = net(x, t).sample
                x = self.ddim.step(out.float(), t, x).prev_sample
            chunks.append(x)
        return torch.cat(chunks)


class DenoisingDiffusion(Peer):
    """Unet and GaussianDiffusion of denoising-diffusion-pytorch, its own EMA and DDIM sampler."""

    def __init__(self):
        without_torchvision()
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet

        self.net = Unet(dim=28, dim_mults=(1, 2), channels=1)
        self.model = GaussianDiffusion(
            self.net, image_size=16, timesteps=1000, sampling_timesteps=50
        )

    def make_optimizer(self):
        return torch.optim.Adam(self.net.parameters(), lr=self.lr, betas=(0.9, 0.99))

    def loss(self, clean: Tensor) -> Tensor:
        return self.model((clean + 1) / 2)  # it wants [0, 1]

    def make_ema(self):
        from ema_pytorch import EMA

        return EMA(self.model, beta=0.995, update_every=10)

    def update_ema(self) -> None:
        self.ema.update()

    def averaged(self) -> torch.nn.Module:
        return deepcopy(self.ema.ema_model).eval()

    @torch.no_grad()
    def sample(self, model, n: int, steps: int, seed: int) -> Tensor:
        torch.manual_seed(seed)
        model.sampling_timesteps = steps
        return torch.cat([model.sample(batch_size=size) for size in sizes(n)]) * 2 - 1


def sizes(n: int) -> list[int]:
    """n pictures in chunks."""
    return [min(CHUNK, n - start) for start in range(0, n, CHUNK)]


def without_torchvision() -> None:
    """denoising-diffusion-pytorch imports torchvision for its Trainer alone, which is not used
    here; where there is none, or one that does not fit torch, an empty module stands in."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.transforms", "torchvision.utils"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
        sys.modules["torchvision"].utils = sys.modules["torchvision.utils"]
        sys.modules["torchvision.models"] = types.ModuleType("torchvision.models")


CONTENDERS = {
    "labkit": Labkit,
    "diffusers float32": Diffusers,
    "diffusers bf16": lambda: Diffusers(bf16=True),
    "denoising-diffusion-pytorch": DenoisingDiffusion,
}
