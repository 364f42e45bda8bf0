"""The check of lesson 00 passes what is right, however it is written, and names what is wrong."""

import math

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def test_the_noise_share_is_found_by_a_root_or_by_the_angle():
    by_a_power = lambda signal: (1 - signal * signal) ** 0.5  # noqa: E731
    by_the_angle = lambda signal: math.sin(math.acos(signal))  # noqa: E731
    assert_check_is_sound(checks.noise_share, [by_a_power, by_the_angle])
