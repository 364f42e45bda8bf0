"""Factors meet tensors: in the tensor's dtype, where it lies.

What depends on times alone is computed in float64 on the CPU, cast, and only then moved: Apple's
GPUs know no float64, and no step of a sampler has to wait for its device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """`values` on that device. A copy from the CPU to CUDA is not waited for: CUDA has read
    ordinary memory when the call returns, which other devices do not promise."""
    return values.to(device, non_blocking=device.type == "cuda" and values.device.type == "cpu")


def like(factor: Tensor, x: Tensor) -> Tensor:
    """`factor` in x's dtype, where x lies. A single number stays on the CPU: torch takes it along
    to any device without a copy."""
    factor = factor.to(x.dtype)
    return factor if factor.ndim == 0 else moved(factor, x.device)


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have no other."""
    return torch.float32 if device.type == "mps" else torch.float64


def wide(x: Tensor) -> Tensor:
    """`x` in the widest dtype of its device."""
    return x.to(widest(x.device))


def back(values: Tensor, x: Tensor) -> Tensor:
    """`values`, computed on the CPU, where x lies, in the widest dtype there."""
    return moved(values.to(widest(x.device)), x.device)
