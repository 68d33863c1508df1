"""A fake Kubernetes cluster: a strict API server whose pods are local processes. See cluster.py."""

from component_tests.fakes.kubernetes_api.cluster import ADMIN_TOKEN, Account, Claim, FakeCluster, Fault, Refused
from component_tests.fakes.kubernetes_api.kubelet import Image, Latencies

__all__ = ["ADMIN_TOKEN", "Account", "Claim", "FakeCluster", "Fault", "Image", "Latencies", "Refused"]
