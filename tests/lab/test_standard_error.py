"""A mean and its standard error, as text."""

import pytest
import torch

from labkit.lab.standard_error import mean_and_error

VALUES = torch.tensor([0.5, 0.6, 0.7])  # their standard error is 0.1 / √3


@pytest.mark.parametrize(
    ("values", "options", "text"),
    [
        (VALUES, {}, "0.60 ± 0.06"),
        (VALUES.double(), {"tight": True}, "0.60 ±0.06"),
        (VALUES, {"digits": 3}, "0.600 ± 0.058"),
        (VALUES[:1], {}, "0.50"),
        (VALUES[:1], {"digits": 0, "tight": True}, "0"),
        (torch.tensor([0.5, float("nan")]), {}, ""),
    ],
)
def test_the_mean_stands_with_its_error_if_there_is_one(values, options, text):
    assert mean_and_error(values, **options) == text
