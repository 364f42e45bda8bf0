"""python -m benchmarks [--quick] [--only NAME] [--out FILE]: the race, as a table in Markdown.

Each contender runs in a process of its own, one after the other, on the same machine and data.
On a machine that has other work, --clock cpu with OMP_NUM_THREADS=1 counts the seconds of one core
that each really had. --again FILE.json keeps its figures and runs only what --only names.
--quick trains for four seconds and is good for nothing but to see that all works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

from benchmarks import imports
from benchmarks.contenders import CONTENDERS
from benchmarks.race import THRESHOLDS


def run(name: str, **options) -> dict:
    """One contender's figures, from its own process; why it failed, if it did."""
    given = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "benchmarks.race", name, *given]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        return {"name": name, "failed": answer.stderr.strip().splitlines()[-1:]}
    return json.loads(answer.stdout.splitlines()[-1])


def column(result: dict, taken: dict[str, float], seconds: float, samples: int) -> dict[str, str]:
    """One contender's figures as text, by row."""
    final = result["final"]
    judged = "classifier-digits" in final
    found = {
        "parameters": f"{result['parameters'] / 1e6:.2f} M",
        "images of a batch": str(result["batch"]),
        "training images/s": f"{result['images/s']:.0f}",
    }
    for mark in THRESHOLDS:
        reached = result["reached"][str(mark)]
        found[f"seconds to distance {mark}"] = f"{reached:.0f}" if reached else f"> {seconds:.0f}"
    if judged:
        one, other = final["classifier-digits"], final["classifier-digits-b"]
        quality = [
            f"{one['frechet']:.4f}",
            f"{other['frechet']:.4f}",
            f"{one['precision']:.2f}, {one['recall']:.2f}",
            f"{one['class_use']:.2f}, {one['confidence']:.2f}",
        ]
    else:  # sampling would have outlasted the patience, so nothing can be said of the samples
        quality = ["?"] * 4
        found |= {f"seconds to distance {mark}": "?" for mark in THRESHOLDS}
    rows = ["distance at the end", "the same, other classifier"]
    found |= dict(zip([*rows, "precision, recall", "classes used, confident"], quality))
    about = "" if judged else "about "
    found[f"seconds for {samples} images x 50 steps"] = f"{about}{final['sampling']:.1f}"
    found["peak memory"] = f"{result['peak MB']:.0f} MB"
    cost = taken[{"labkit": "labkit.zoo"}.get(result["name"], result["name"].split()[0])]
    found["import"] = f"{cost:.1f} s ({cost / taken['torch']:.2f} x torch)"
    return found


def table(results: list[dict], taken: dict[str, float], seconds: float, samples: int) -> str:
    """The figures side by side: a column for each contender."""
    columns = [column(result, taken, seconds, samples) for result in results]
    lines = [["", *(result["name"] for result in results)], ["---"] * (len(results) + 1)]
    lines += [[row, *(found[row] for found in columns)] for row in (columns[0] if columns else ())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=60, help="of training, for each")
    parser.add_argument("--samples", type=int, default=1000, help="judged, for each distance")
    parser.add_argument(
        "--patience", type=float, default=600, help="seconds; slower sampling is only estimated"
    )
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--again", type=Path, help="a FILE.json of an earlier run, to go on with")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS), help="may be repeated")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json has all figures")
    given = parser.parse_args()
    seconds, samples = (4.0, 70) if given.quick else (given.seconds, given.samples)

    results = []
    if given.again:
        fresh = given.only or CONTENDERS
        old = json.loads(given.again.read_text())[0]
        results = [result for result in old if result["name"] not in fresh]
    for name in given.only or CONTENDERS:
        options = {"patience": given.patience, "clock": given.clock}
        results.append(run(name, seconds=seconds, samples=samples, **options))
        print(f"{name}: {results[-1].get('failed', 'done')}", file=sys.stderr, flush=True)
    results.sort(key=lambda result: list(CONTENDERS).index(result["name"]))
    taken = imports.measure(1 if given.quick else 7)
    threads = next((result["threads"] for result in results if "threads" in result), None)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    text = (
        f"{date.today()}, {platform.machine()}, Python {platform.python_version()}, "
        f"{threads} threads, load {load:.1f} at the end, clock: {given.clock}. "
        f"{seconds:.0f} s of training each; Fréchet distance over the real features' variance, "
        f"{samples} samples against 1,797 real digits.\n\n"
        + table([result for result in results if "failed" not in result], taken, seconds, samples)
    )
    for result in results:
        if "failed" in result:
            text += f"\n\n{result['name']} did not run: {' '.join(result['failed'])}"
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
        given.out.with_suffix(".json").write_text(json.dumps([results, taken], indent=1) + "\n")


if __name__ == "__main__":
    main()
