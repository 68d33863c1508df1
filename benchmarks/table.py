"""Prints measurements: each row a name, minimum, median and maximum, and what it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def print_table(title: str, rows: Sequence[tuple[str, Sequence[float], str]], unit: str = "s") -> None:
    """Print rows of (name, samples, remark)."""
    print(f"\n{title}\n")
    print(f"| {'what':<58} | {'min':>8} | {'median':>8} | {'max':>8} | remark |")
    print(f"|{'-' * 60}|{'-' * 10}|{'-' * 10}|{'-' * 10}|--------|")
    for name, samples, remark in rows:
        low, middle, high = min(samples), statistics.median(samples), max(samples)
        print(f"| {name:<58} | {low:>8.3f} | {middle:>8.3f} | {high:>8.3f} | {remark} |")
    print(f"\nall in {unit}")


def print_columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts, as wide as it must be."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    print()
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
