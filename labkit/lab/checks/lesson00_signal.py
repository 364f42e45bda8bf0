"""The check of lesson 00's exercise in miniature."""

import math

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between

noise_share = Check(
    "noise_share",
    reference=lambda signal: math.sqrt(1 - signal**2),
    draw_inputs=lambda g: (between(0.1, 0.9, g),),
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
        "You add the square of the signal; the noise has what the signal leaves: subtract.": (
            lambda signal: math.sqrt(1 + signal**2)
        ),
        "Below the root stands signal² − 1, which is negative; it is 1 − signal².": (
            lambda signal: (signal**2 - 1) ** 0.5
        ),
    },
    against="Pythagoras",
)
