"""Lesson 14: the course's own pipelines from sentences to pictures, marked on the same sentences.

    python -m benchmarks.capstone [--number 60] [--only "09 GLIDE, 32 pixels"] [--again]
                                  [--out FILE]

FILE is written after each pipeline, with what each sentence got; what it holds already stays,
unless `--again` measures it anew, as after a new training. Systems without weights are left out.
Sixty sentences take 17 to 45 seconds of one core for each pipeline.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from labkit.lab import capstone
from labkit.lab.capstone import PIPELINES, Marks


def row(marks: Marks) -> dict:
    columns = {"shown": marks.shown, "said": marks.said, "valid": marks.valid}
    return {"seconds": round(marks.seconds, 3)} | {
        name: values.long().tolist() for name, values in columns.items()
    }


def run(number: int, only: list[str], again: bool, file: Path) -> dict:
    result = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name in only:
        if (again or name not in result) and capstone.trained(PIPELINES[name][0]):
            marks = capstone.benchmark(capstone.course(name), number)
            result[name] = row(marks)
            print(f"{name}: {marks.parts:.3f} ± {marks.error:.3f}", flush=True)
            text = json.dumps(result, ensure_ascii=False)
            file.write_text(text.replace("}, ", "},\n") + "\n", "utf-8")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=capstone.NUMBER)
    parser.add_argument("--only", nargs="+", choices=PIPELINES, default=list(PIPELINES))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=capstone.STORED)
    given = parser.parse_args()
    run(given.number, given.only, given.again, given.out)


if __name__ == "__main__":
    main()
