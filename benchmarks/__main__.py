"""python -m benchmarks [--quick] [--only NAME] [--out FILE]: the race, as a table in Markdown.

Each contender runs in a process of its own, one after the other, on the same machine and data.
--quick takes a minute or two a contender and is good for nothing but to see that all works.
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


def run(name: str, seconds: float, samples: int, clock: str) -> dict:
    """One contender's figures, from its own process; why it failed, if it did."""
    options = ["--seconds", str(seconds), "--samples", str(samples), "--clock", clock]
    command = [sys.executable, "-m", "benchmarks.race", name, *options]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        return {"name": name, "failed": answer.stderr.strip().splitlines()[-1:]}
    return json.loads(answer.stdout.splitlines()[-1])


def table(results: list[dict], taken: dict[str, float], seconds: float, samples: int) -> str:
    """The figures side by side: a row each, a column for every contender."""
    rows: dict[str, list[str]] = {"": [], "---": []}

    def cell(row: str, text: str) -> None:
        rows.setdefault(row, []).append(text)

    for result in results:
        cell("", result["name"])
        cell("---", "---")
        one, other = (
            result["final"][name] for name in ("classifier-digits", "classifier-digits-b")
        )
        cell("parameters", f"{result['parameters'] / 1e6:.2f} M")
        cell("images of a batch", str(result["batch"]))
        cell("training images/s", f"{result['images/s']:.0f}")
        for mark in THRESHOLDS:
            reached = result["reached"][str(mark)]
            cell(f"seconds to distance {mark}", f"{reached:.0f}" if reached else f"> {seconds:.0f}")
        cell(f"distance after {seconds:.0f} s", f"{one['frechet']:.4f}")
        cell("the same, other classifier", f"{other['frechet']:.4f}")
        cell("precision, recall", f"{one['precision']:.2f}, {one['recall']:.2f}")
        cell("classes used, confident", f"{one['class_use']:.2f}, {one['confidence']:.2f}")
        cell(f"seconds for {samples} images x 50 steps", f"{result['final']['sampling']:.1f}")
        cell("peak memory", f"{result['peak MB']:.0f} MB")
        key = {"labkit": "labkit.zoo"}.get(result["name"], result["name"].split()[0])
        cell("import", f"{taken[key]:.1f} s ({taken[key] / taken['torch']:.2f} x torch)")
    lines = [
        f"| {row if row != '---' else '---'} | " + " | ".join(rows[row]) + " |" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=60, help="of training, for each")
    parser.add_argument("--samples", type=int, default=1000, help="judged, for each distance")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS), help="may be repeated")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json has all figures")
    given = parser.parse_args()
    seconds, samples = (8.0, 100) if given.quick else (given.seconds, given.samples)

    results = []
    for name in given.only or CONTENDERS:
        results.append(run(name, seconds, samples, given.clock))
        print(f"{name}: {results[-1].get('failed', 'done')}", file=sys.stderr, flush=True)
    taken = imports.measure(1 if given.quick else 7)
    threads = next((result["threads"] for result in results if "threads" in result), None)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    text = (
        f"{date.today()}, {platform.machine()}, Python {platform.python_version()}, "
        f"{threads} threads, load {load:.1f} at the end, clock: {given.clock}. Fréchet distance "
        f"over the real features' variance, {samples} samples against 1,797 real digits.\n\n"
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
