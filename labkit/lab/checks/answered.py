"""Denoisers that have answered already: what a check gives where a lesson has a trained one."""

from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Prediction, from_eps, from_x0
from labkit.schedule import NoiseSchedule


class SaysEps:
    """Says this eps, whatever it is asked."""

    def __init__(self, schedule: NoiseSchedule, eps: Tensor):
        self.schedule, self.eps = schedule, eps

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_eps(self.schedule, x, t, self.eps)


class SaysX0:
    """Says this x0, whatever it is asked."""

    def __init__(self, schedule: NoiseSchedule, x0: Tensor):
        self.schedule, self.x0 = schedule, x0

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_x0(self.schedule, x, t, self.x0)
