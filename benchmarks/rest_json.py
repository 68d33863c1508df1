"""What reading a large REST body costs the embedded server, beside Python's json alone: from bytes to tensors, 10 MB each.

    python -m benchmarks.rest_json [--rounds 5] [--megabytes 10]

The two take turns in one process; times are of the processor, since other work on the machine would be in the wall's.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.table import print_table
from infra_validator.embedded_server.engine.c_api import STRING, load_library
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.tensors import TensorBuilder

FLOAT = 1


def bodies(size: int) -> dict[str, tuple[int, bytes]]:
    """Name -> (dtype, body) of about ``size`` bytes."""
    chance = random.Random(1)
    numbers = [round(chance.uniform(-1000, 1000), 4) for _ in range(size // 10)]
    tiny = [{"b64": base64.b64encode(chance.randbytes(3)).decode()} for _ in range(size // 17)]
    large = [{"b64": base64.b64encode(chance.randbytes(3000)).decode()} for _ in range(size // 4010)]
    rows = [numbers[first : first + 100] for first in range(0, len(numbers) - 99, 100)]
    nested = [[[[one] for one in row[:10]] for _ in range(10)] for row in rows]
    named = {
        "numbers": (FLOAT, numbers),
        "rows of 100 numbers": (FLOAT, rows),
        "nested 10 x 10 x 1": (FLOAT, nested),
        "words": (STRING, [f"word{number}" for number in range(size // 12)]),
        "base64 of 3 bytes": (STRING, tiny),
        "base64 of 3000 bytes": (STRING, large),
    }
    return {name: (dtype, json.dumps({"instances": values}).encode()) for name, (dtype, values) in named.items()}


def ours(dtype: int, body: bytes) -> None:
    rows = rest_json.parse(body)["instances"]
    builder = TensorBuilder(dtype, rows=True)
    if not builder.add_rows(rows):
        raise SystemExit("the rows were not taken at once")
    builder.tensor("x")


def seconds_of(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=10)
    options = parser.parse_args()
    load_library()
    rows: list[tuple[str, list[float], str]] = []
    for name, (dtype, body) in bodies(int(options.megabytes * 1e6)).items():
        alone, whole = [], []
        for _ in range(options.rounds):
            alone.append(seconds_of(lambda body=body: json.loads(body)))  # type: ignore[misc]
            whole.append(seconds_of(lambda dtype=dtype, body=body: ours(dtype, body)))  # type: ignore[misc]
        times = statistics.median(a / b for a, b in zip(whole, alone, strict=True))
        rows.append((f"{name}, {len(body) / 1e6:.1f} MB: json", alone, ""))
        rows.append((f"{name}: to a tensor", whole, f"{times:.2f} times json (aim 2)"))
    print_table("A large body over REST", rows)


if __name__ == "__main__":
    main()
