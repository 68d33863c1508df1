"""Makes the demo's data set: trips with a length, an hour and the fare paid, in one CSV file."""

from __future__ import annotations

import csv
import pathlib
import random

FEATURES = ("kilometres", "minutes")
LABEL = "fare"


def write_csv(directory: pathlib.Path, rows: int = 300) -> None:
    """Write ``trips.csv`` with the same rows every time: fare = 3.5 + 1.8 km + 0.4 min and some noise."""
    directory.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    with (directory / "trips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*FEATURES, LABEL])
        for _ in range(rows):
            kilometres = chance.uniform(0.5, 20.0)
            minutes = 2.5 * kilometres + chance.uniform(0.0, 15.0)
            fare = 3.5 + 1.8 * kilometres + 0.4 * minutes + chance.gauss(0.0, 0.3)
            writer.writerow([f"{value:.3f}" for value in (kilometres, minutes, fare)])
