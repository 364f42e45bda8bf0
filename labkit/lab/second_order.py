"""A sampler step of second order, for the lesson on DDIM and its benchmark.

It is not in `labkit.sampler`, since a step there is a pure function of two times; this one needs
the prediction of the step before.
"""

from collections.abc import Callable

from torch import Tensor

from labkit import sampler
from labkit.denoiser import Prediction, from_x0
from labkit.schedule import NoiseSchedule


def multistep() -> Callable[..., Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) as a step for `sampler.sample`: DDIM's step
    with a prediction of x0 that is carried on in a straight line, in units of half the log-SNR.

    The first step of a walk has nothing to carry on, and the step to 0 is infinitely long in these
    units: both are plain DDIM.
    """
    last = None  # the prediction of the step before, its time, and the time it led to

    def step(schedule: NoiseSchedule, pred: Prediction, x: Tensor, t: int, s: int, generator=None):
        nonlocal last
        x0, half = pred.x0, schedule.log_snr / 2
        if last is not None and last[2] == t and s > 0:
            earlier, before, _ = last
            share = (half[s] - half[t]) / (half[t] - half[before]) / 2
            x0 = x0 + share.item() * (x0 - earlier)
        last = pred.x0, t, s
        return sampler.ddim(schedule, from_x0(schedule, x, t, x0), x, t, s)

    return step
