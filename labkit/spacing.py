"""Spacings: which n of the T times a sampler visits, as a falling list that ends in 0.

Each is for `NoiseSchedule.timesteps`, which checks that 1 ≤ n ≤ T.
"""


def uniform(T: int, n: int) -> list[int]:
    """[T, …, 1, 0]: evenly from the last time to the first (Improved DDPM's stride)."""
    if n == 1:
        return [T, 0]
    return [1 + round(i * (T - 1) / (n - 1)) for i in reversed(range(n))] + [0]


def trailing(T: int, n: int) -> list[int]:
    """[T, …, T/n, 0]: even gaps, the last one as long as the others (Lin et al. 2024, table 2)."""
    return [round(T * i / n) for i in reversed(range(n + 1))]


def quadratic(T: int, n: int) -> list[int]:
    """[T, …, T/n², 0]: denser near the picture (DDIM, appendix D.2), never standing still."""
    return [max(round(T * i * i / (n * n)), i) for i in reversed(range(n + 1))]
