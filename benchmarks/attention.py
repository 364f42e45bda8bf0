"""Fused attention of torch against its three plain steps, on one thread of this processor.

    python -m benchmarks.attention

Milliseconds of the forward pass, and of forward and backward, for the sizes of the course's
networks: `labkit.nets.attention.slow` rests on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = (  # batch, heads, queries, keys, width of a head
    (64, 6, 64, 96, 16),
    (64, 6, 16, 48, 16),
    (16, 4, 256, 288, 32),
    (4, 4, 1024, 1024, 32),
)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q.shape[-1] ** -0.5 * q) @ k.mT).softmax(-1).to(v.dtype) @ v


def milliseconds(work: Callable, repeats: int = 10) -> float:
    """The median, after two rounds to warm up."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1e3 * sorted(times[2:])[repeats // 2]


def both(attention: Callable, q: Tensor, k: Tensor, v: Tensor) -> None:
    attention(q, k, v).sum().backward()


def main() -> None:
    torch.set_num_threads(1)
    names = ("fused", "plain", "fused, backward too", "plain, backward too")
    print("| dtype | batch, heads, queries, keys, width | " + " | ".join(names) + " |")
    print("| --- " * 6 + "|")
    for dtype in (torch.float32, torch.bfloat16):
        for batch, heads, queries, keys, width in SIZES:
            shapes = [(batch, heads, length, width) for length in (queries, keys, keys)]
            parts = [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]
            ways = (F.scaled_dot_product_attention, plain)
            with torch.no_grad():
                found = [milliseconds(partial(way, *parts)) for way in ways]
            found += [milliseconds(partial(both, way, *parts)) for way in ways]
            size = ", ".join(map(str, (batch, heads, queries, keys, width)))
            cells = " | ".join(f"{each:.1f}" for each in found)
            print(f"| {str(dtype).removeprefix('torch.')} | {size} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
