"""The smallest run that has everything: convolutions, norms, attention, dropout, an average."""

import os
import time

import torch

from labkit.denoiser import Denoiser
from labkit.nets.unet import UNet, UNetConfig
from labkit.schedule import cosine
from labkit.train import shuffled, train

CONFIG = UNetConfig(
    size=8, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(), groups=4, dropout=0.1
)


def system() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(UNet(CONFIG), cosine(50))


def batches():
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return shuffled(images, batch=4)


def weights(*modules: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()])


def life(path, steps: int, save_every: int, told) -> None:
    """One attempt in a process of its own, which tells of every step through a pipe."""
    torch.set_num_threads(1)
    for step in train(system(), batches(), steps, checkpoint=path, save_every=save_every):
        told.send((os.getpid(), step.step))
    time.sleep(0.01)


def small_disk(path, told):
    """Trains where no file may grow beyond half a checkpoint."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2,) * 2)
    try:
        list(train(system(), batches(), 6, checkpoint=path, save_every=3))
    except OSError as error:
        told.send((error.errno, str(error)))
