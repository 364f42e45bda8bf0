"""Does it matter how often training leaves the label out? Table 1 of classifier-free guidance
(Ho and Salimans 2022) at our size, as tables in Markdown.

    python -m benchmarks.p_uncond [--steps 1500] [--seeds 2] [--folder runs]

Trains the recipe of `adm-digits` once for each share, all from the same weights with the same
batches; about four minutes of one core each. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.guidance_sweep import classifier_free, table
from labkit import train as training
from labkit import zoo
from labkit.systems.adm import ADM

SHARES = (0.1, 0.2, 0.5)  # the paper's
SCALES = (0.0, 1.0, 1.15, 1.3, 1.6, 2.0, 3.0, 5.0)


def trained(share: float, steps: int, folder: Path) -> ADM:
    """The system of that share, with averaged weights."""
    recipe = zoo.recipe("adm-digits")
    system = ADM(replace(recipe.config, p_uncond=share))
    system.load_state_dict(zoo.build("adm-digits").state_dict())
    folder.mkdir(exist_ok=True)
    settings = recipe.training | {"steps": steps}
    run = folder / f"null-share-{share:g}-{steps}.run"
    *_, last = training.train(system, recipe.batches(), checkpoint=run, **settings)
    return last.ema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="of training, for each share")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    given = parser.parse_args()
    for share in SHARES:
        print(f"\nlabel left out in {share:.0%} of the rows\n", flush=True)
        guided = classifier_free(trained(share, given.steps, given.folder))
        table(guided, SCALES, given.samples, 50, given.seeds)


if __name__ == "__main__":
    main()
