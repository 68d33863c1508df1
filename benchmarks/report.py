"""How long a report takes and what it weighs: each format of a verdict with everything in it, and a page of a hundred verdicts.

python -m benchmarks.report
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.table import print_table
from component_tests.fakes.rich_reports import blessed, rejected
from infra_validator.report.formats.every_format import FORMATS

_TIMES = 20


def main() -> None:
    told: Mapping[str, Any] = json.loads(rejected().to_json())
    long: Any = json.loads(rejected().to_json())
    long["serving_binaries"][0]["attempts"][1]["server_log_tail"] = "a line of the server's log <&>\n" * 330_000
    several: Sequence[tuple[str, Any]] = [
        (f"{day}/verdict.json", json.loads(blessed(day % 28).to_json())) for day in range(100)
    ]
    rows = [row(form.file, form.of_one, told) for form in FORMATS.values()]
    rows.append(row("report.html, with a log of 10 MB", FORMATS["html"].of_one, long))
    rows.append(row("report.html of 100 verdicts", FORMATS["html"].of_several, several))
    print_table("Reports: two serving binaries, three attempts, four load runs, each with a histogram", rows)


def row(name: str, make: Callable[[Any], str], told: Any) -> tuple[str, list[float], str]:
    """One row of the table: a warm call and then twenty."""
    size = len(make(told).encode())
    samples = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        make(told)
        samples.append(time.perf_counter() - began)
    return name, samples, f"{size:,} octets"


if __name__ == "__main__":
    main()
