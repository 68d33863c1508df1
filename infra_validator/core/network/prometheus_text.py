"""Lines of Prometheus' text format: the one writer of the sidecar and the embedded server.

``prometheus_client`` would be a dependency for these few lines.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def family(
    name: str, kind: str, described: str, samples: Iterable[tuple[Mapping[str, str], float | int | str]]
) -> list[str]:
    """The lines of one metric.

    Args:
      name: the metric's name.
      kind: ``counter`` or ``gauge``.
      described: what it counts, in a sentence of one line.
      samples: (labels, value) of each cell.
    """
    lines = [f"# HELP {name} {described}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        lines.append(f"{name}{{{label_pairs(labels)}}} {value}" if labels else f"{name} {value}")
    return lines


def label_pairs(labels: Mapping[str, str]) -> str:
    """What stands between the braces of a sample."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
