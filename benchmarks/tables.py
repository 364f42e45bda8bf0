"""Tables in Markdown of what was measured with several seeds."""

from collections.abc import Sequence

import torch


def head(*names: str) -> str:
    """The first two lines: the names of the columns."""
    return f"| {' | '.join(names)} |\n" + "| --- " * len(names) + "|"


def row(name: str, runs: Sequence[Sequence[float]], digits: int) -> str:
    """A line of means ± standard deviations over the runs, each a list of figures."""
    table = torch.tensor(runs)
    spread = table.std(0, correction=0)
    cells = [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in zip(table.mean(0), spread)]
    return f"| {name} | {' | '.join(cells)} |"
