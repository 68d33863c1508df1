"""The tests for real clusters, run against the fake one: what they ask for is what our code does, on either."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from component_tests.fakes.kubernetes_pods import ROOT

#: What only a real node does.
_NOT_HERE = "not without_memory"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tests_for_real_clusters_pass_on_the_fake_one(tmp_path: pathlib.Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBECONFIG": str(kubeconfig), "PYTEST_ADDOPTS": ""}
    cluster = subprocess.Popen(
        [sys.executable, "-m", "component_tests.fakes.kubernetes_api", str(kubeconfig)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with cluster:
        assert cluster.stdout is not None
        assert cluster.stdout.readline().startswith(b"http")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--with-kubernetes", "-k", _NOT_HERE]
        command += [f"--basetemp={tmp_path / 'inner'}", "component_tests/real_platforms/test_kubernetes.py"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert cluster.stdin is not None
        cluster.stdin.close()
        assert cluster.wait(60) == 0
    assert done.returncode == 0, done.stdout[-6000:]
    assert "skipped" not in done.stdout
