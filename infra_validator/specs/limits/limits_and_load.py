"""What must hold between the limits and the load that they are measured under: what can be told before anything is started."""

from __future__ import annotations

from infra_validator.core.errors import SpecError
from infra_validator.specs.limits.limits_spec import LimitsSpec
from infra_validator.specs.limits.load_spec import LoadMode, LoadSpec
from infra_validator.specs.limits.sample_size import requests_needed


def check_load(path: str, limits: LimitsSpec, load: LoadSpec) -> None:
    """Check the load against the limits.

    Args:
      path: how messages call the validation spec.

    Raises:
      SpecError: a percentile is limited that the sample is too small for, with the number of requests that it needs; or requests come
        so slowly that a throughput can never be reached.
    """
    for index, limit in enumerate(limits.latency):
        _check_sample(f"{path}.limits.latency[{index}].percentile", path, limit.percentile, load)
    wanted, rate = limits.throughput_at_least_rps, load.rate_rps
    if wanted is not None and rate is not None and wanted > rate:
        raise SpecError(
            f"{path}.limits.throughput_at_least_rps",
            f"{wanted:g} requests per second can never be answered where {path}.load.rate_rps sends {rate:g}",
        )


def _check_sample(field: str, path: str, percentile: str, load: LoadSpec) -> None:
    """That as many requests are measured of each kind as the percentile needs, where the spec tells how many that will be."""
    needed = requests_needed(percentile)
    given, how = load.requests, f"{path}.load.requests"
    enough = f"Measure at least {needed} ({path}.load.requests: {needed}), or limit a lower percentile."
    if load.mode is LoadMode.OPEN and load.rate_rps is not None and given is None:
        seconds = load.at_most_seconds - (load.warm_up_seconds or 0.0)
        if load.seconds is not None:
            seconds = min(seconds, load.seconds)
        given, how = int(max(0.0, load.rate_rps * seconds)), f"{path}.load"
        enough = f"At {load.rate_rps:g} requests per second that takes {needed / load.rate_rps:.3g} s; or limit a lower percentile."
    if given is not None and given < needed:
        raise SpecError(
            field,
            f"{percentile} needs at least {needed} requests of each signature and batch size, and {how} measures {given}",
            next_step=enough,
        )
