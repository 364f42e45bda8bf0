"""The open challenge: the best scenes from one, two and four evaluations of a fixed network.

    def sample(denoise, noise, evaluations): ...    # your sampler
    print(challenge.table({"mine": challenge.score(sample)}))

`sample` gets noise (B, 3, 32, 32), the start at time T, and returns a picture for each row of it,
of the same shape, in [−1, 1] (what lies outside is cut off). ``denoise`` is a denoiser as
`labkit.sampler` and `labkit.guidance` take it: the base model of GLIDE, with the sentences as
``denoise.cond`` and the empty one as ``denoise.null``. It answers for evaluations · B rows, not one
more; guidance, which asks with and without the sentence, costs two rows a picture.
"""

from __future__ import annotations

import json
import runpy
import secrets
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit import scenes, zoo
from labkit.checkpoint import write_whole
from labkit.conditioning import Conditioning
from labkit.data.pictures import quantize
from labkit.denoiser import Denoises, Prediction
from labkit.inputs import float_batch, short
from labkit.lab import glide_table, progress
from labkit.metrics import frechet_distance
from labkit.sampler import APART
from labkit.scenes.scores import caption_accuracy, valid

STORED = Path(__file__).with_name("challenge.json")  # by `benchmarks/challenge.py`
FILE = "challenge.json"  # the learner's entries, beside their copy of the lessons
MODEL = "glide-scenes"
BUDGETS = (1, 2, 4)  # evaluations of the network for each picture
ROUND = 80  # pictures; more than the reader has features, as the distance needs
FIXED = tuple(range(95_000, 95_005))  # the seeds of the rounds that rank
REFERENCE = 512  # real pictures that the distance is to
COLUMNS = ("parts", "scenes", "distance")

Sample = Callable[[Denoises, Tensor, int], Tensor]
Entry = dict[str, dict]  # by budget: for each of COLUMNS a number by round, and "hidden"


class Refused(ValueError):
    """Why a submission gets no score, in one sentence."""


class Round(NamedTuple):
    """What one round asks for."""

    captions: list[str]
    real: Tensor  # (ROUND, 3, 32, 32) real pictures of the captions
    noise: Tensor  # (ROUND, 3, 32, 32)


@cache
def drawn(seed: int) -> Round:
    """The round of that seed."""
    truth = scenes.draw(ROUND, seed)
    noise = torch.randn(ROUND, 3, 32, 32, generator=torch.Generator().manual_seed(APART + seed))
    return Round(scenes.captions(truth, seed), scenes.render(truth, 32), noise)


class Metered:
    """The model's denoiser for one round; it answers for that many rows, and refuses any more."""

    def __init__(self, model: nn.Module, captions: Sequence[str], rows: int):
        self.cond: Conditioning = model.encode(captions)
        self.null: Conditioning = model.null
        self.schedule = model.denoiser.schedule
        self.answering, self.rows, self.left = False, rows, rows
        self._denoise = model.denoiser

    @torch.no_grad()
    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        """As of every denoiser; without a condition it hears the null."""
        self.left -= len(float_batch(x, "x"))
        if self.left < 0:
            raise Refused(
                f"the network was asked about {self.rows - self.left} rows where {self.rows} are "
                "allowed: take fewer steps; a guided step counts twice"
            )
        self.answering = True
        try:
            return self._denoise(x, t, self.null if cond is None else cond)
        finally:
            self.answering = False

    def watch(self, module: nn.Module, _) -> None:
        """Called before every module of torch: refuses the networks that are not this one."""
        if not self.answering and next(module.parameters(), None) is not None:
            raise Refused(
                f"a network of your own ran ({type(module).__name__}), but only `denoise` may be "
                "asked, as denoise(x, t, cond)"
            )


def play(sample: Sample, asked: Round, budget: int, model: nn.Module) -> Tensor:
    """The pictures of one round, as a file would hold them. Raises Refused for what is none."""
    noise, before = asked.noise.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    meter = Metered(model, asked.captions, budget * len(noise))
    watching = nn.modules.module.register_module_forward_pre_hook(meter.watch)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(budget)
            pictures = sample(meter, noise, budget)
    except Refused:
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[1:2]
        where = f" in line {line[0].lineno}" if line else ""
        said = " ".join(str(error).split())
        raise Refused(f"sample failed{where}: {type(error).__name__}: {said}") from error
    finally:
        watching.remove()
    if any(not torch.equal(now, before[name]) for name, now in model.state_dict().items()):
        raise Refused(
            "the network's weights were changed, but the challenge is to sample it as it is"
        )
    if not isinstance(pictures, Tensor) or pictures.shape != noise.shape:
        given, wanted = short(pictures), tuple(noise.shape)
        raise Refused(f"sample returned {given}, but must return pictures of shape {wanted}")
    if not pictures.is_floating_point() or not pictures.isfinite().all():
        raise Refused("the pictures hold NaN, infinity or whole numbers, not floats in [−1, 1]")
    return quantize(pictures.detach().float().clamp(-1, 1))


@cache
def _eyes() -> tuple[nn.Module, Tensor]:
    reader = zoo.load("reader-scenes").requires_grad_(False)
    real = scenes.render(scenes.draw(REFERENCE, glide_table.REFERENCE), 32)
    return reader, glide_table.features(reader, real)


def measure(asked: Round, pictures: Tensor) -> list[float]:
    """In the order of `COLUMNS`: the share of what the sentences say that the reader finds, of
    pictures that are scenes, and the Fréchet distance of the reader's features to real ones."""
    reader, real = _eyes()
    seen = reader.read(pictures)
    distance = frechet_distance(real, glide_table.features(reader, pictures))
    scene = valid(seen, pictures).double().mean().item()
    return [caption_accuracy(seen, asked.captions).parts, scene, distance]


def score(
    sample: Sample, budgets: Sequence[int] = BUDGETS, model: nn.Module | None = None
) -> Entry:
    """Plays and measures the fixed rounds, and one whose seed nobody knows before: its share of
    parts is "hidden". model: another one in the place of `MODEL`.

    Raises Refused, at the first round that gives no pictures.
    """
    model = (model or zoo.load(MODEL)).requires_grad_(False)
    rounds = [drawn(seed) for seed in FIXED]
    rounds.append(drawn(10**6 + secrets.randbelow(10**9)))
    entry = {}
    for budget in budgets:
        made = (play(sample, asked, budget, model) for asked in rounds)
        entry[str(budget)] = cell([measure(*pair) for pair in zip(rounds, made)])
    return entry


def cell(rows: Sequence[Sequence[float]]) -> dict:
    """What is kept of the rounds at one budget, the hidden one last."""
    columns = [[round(value, 4) for value in column] for column in zip(*rows)]
    fixed = {name: column[:-1] for name, column in zip(COLUMNS, columns)}
    return fixed | {"hidden": columns[0][-1]}


def load(file: Path) -> Sample:
    """The function `sample` of that Python file. Raises Refused where there is none."""
    try:
        found = runpy.run_path(str(file)).get("sample")
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refused(f"{file} is no Python file that runs: {said}") from error
    if not callable(found):
        raise Refused(f"{file} has no function `sample(denoise, noise, evaluations)`: write one")
    return found


def entries(file: Path) -> dict[str, Entry]:
    """What is kept in that file, which need not be there. Raises ValueError if it is damaged."""
    try:
        found = json.loads(file.read_text("utf-8"))
        cells = [cell for entry in found.values() for cell in entry.values()]
        whole = all(len(cell[name]) == len(FIXED) for cell in cells for name in COLUMNS)
        whole = whole and all("hidden" in cell for cell in cells)
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"{file}, the file of your entries, is damaged: move it away")
    return found


def keep(file: Path, name: str, entry: Entry) -> None:
    """Adds an entry, in the place of one of the same name. Raises OSError where it cannot."""
    with progress.locked(file):
        found = entries(file) | {name: entry}
        write_whole(file, (json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode())


def named(name: str) -> str:
    """The name as it can stand in a table. Raises Refused for one of the course's own."""
    if name in entries(STORED) or not name.strip() or set(name) & set("|\r\n"):
        raise Refused(f"an entry cannot be called {name!r}: choose another --name")
    return name


def table(found: dict[str, Entry]) -> str:
    """The leaderboard in Markdown, a table for each budget, most parts first."""
    lines = []
    for budget in map(str, BUDGETS):
        rows = {name: entry[budget] for name, entry in found.items() if budget in entry}
        title = f"{budget} evaluation{'s' if budget != '1' else ''} a picture"
        lines += ["", f"| {title} | parts shown | scenes | distance | hidden round |"]
        lines.append("|---" * 5 + "|")
        for name, cell in sorted(rows.items(), key=lambda row: -mean(row[1]["parts"])):
            cells = [
                f"{mean(v):.3f} ± {stdev(v) / len(v) ** 0.5:.3f}" for v in map(cell.get, COLUMNS)
            ]
            lines.append(f"| {' | '.join([name, *cells, format(cell['hidden'], '.3f')])} |")
    return "\n".join(lines[1:])
