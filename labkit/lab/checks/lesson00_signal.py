"""The check of lesson 00's exercise in miniature."""

import math

import torch

from labkit.lab.checks.framework import Check

noise_share = Check(
    "noise_share",
    reference=lambda signal: math.sqrt(1 - signal**2),
    draw_inputs=lambda g: (0.1 + 0.8 * torch.rand((), generator=g).item(),),
    mistakes={
        "You return 1 − signal, but it is the squares of signal and noise that sum to 1.": (
            lambda signal: 1 - signal
        ),
        "You return noise², the square of what is asked: the root is missing.": (
            lambda signal: 1 - signal**2
        ),
        "You take the root of 1 − signal; the signal must be squared first.": (
            lambda signal: math.sqrt(1 - signal)
        ),
        "You return the signal itself.": lambda signal: signal,
    },
    against="Pythagoras",
)
