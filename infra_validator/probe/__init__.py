"""The model status probe and its sidecar.

The probe (``command.py``) is run every few seconds by kubelets in the server's container, so its files import neither grpc
nor protobuf nor anything that costs milliseconds (``typing``, ``dataclasses``, ``re``, ``argparse`` included) unless a flag asks
for it. That is why they use plain classes with ``__slots__`` and moments of ``time.monotonic`` (named ``until``) where the
rest of the package has dataclasses and ``Deadline``. A test holds the list of what may be imported. ``sidecar/`` is a
server: it is under no such rule.
"""
