"""Side by side with peers, in one run: the same machine, data and time.

    python -m benchmarks             the race: training, quality, sampling, memory, import time
    python -m benchmarks.profile_step    where a training step's time goes
    python -m benchmarks.imports         what an import costs

The peers are diffusers (UNet2DModel and its schedulers) and denoising-diffusion-pytorch; they come
with ``pip install -e ".[bench]"``. That brings torchvision along; where its build is another than
torch's (the CPU build of torch, say), uninstall it: diffusers fails beside it, and nothing here
needs it.
"""
