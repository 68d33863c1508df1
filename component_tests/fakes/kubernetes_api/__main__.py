"""The fake cluster by itself, until its standard input ends: ``python -m component_tests.fakes.kubernetes_api KUBECONFIG [IMAGE]``.

Writes a kubeconfig. IMAGE (default tensorflow/serving:2.19.0) is there and runs the embedded model server.
"""

from __future__ import annotations

import pathlib
import sys

from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import TAG, embedded_image


def main() -> None:
    image = sys.argv[2] if len(sys.argv) > 2 else TAG
    path = pathlib.Path(sys.argv[1])
    with FakeCluster(images={image: embedded_image()}) as cluster:
        cluster.kubeconfig(path.parent, name=path.name)
        print(cluster.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
