"""A mean with its standard error, as the tables of lessons show it."""

from torch import Tensor


def mean_and_error(values: Tensor, digits: int = 2, tight: bool = False) -> str:
    """The mean of values (N,) ± its standard error: "0.60 ± 0.06", or "0.60 ±0.06" if tight. Of one
    value the mean alone; nothing where one of them is NaN, which a table leaves empty."""
    if values.isnan().any():
        return ""
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    error = values.std().item() / len(values) ** 0.5
    return f"{mean} ±{'' if tight else ' '}{error:.{digits}f}"
