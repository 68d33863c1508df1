"""What a model is compared with: another model, found and read before anything is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.signatures import Signatures, signatures_of
from infra_validator.saved_model.find import FoundModel, find_saved_model
from infra_validator.saved_model.graph import read_graph
from infra_validator.saved_model.model_files import check_model_files
from infra_validator.specs import LimitsSpec
from infra_validator.validation.baseline.earlier_verdict import EarlierVerdict
from infra_validator.validation.baseline.second_server import baseline_failed


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What a model is compared with.

    Attributes:
      name: its path as it was given; empty: there is none yet.
      path: the SavedModel directory that is served; empty where there is none.
      signatures: as far as they can be read here.
      verdict: what was measured of it earlier; None: it is a model that is measured now.
      problem: why it cannot be compared with; told once the model itself was judged, since that is not the model's fault.
    """

    name: str
    path: str = ""
    signatures: Signatures = dataclasses.field(default_factory=dict)
    verdict: EarlierVerdict | None = None
    problem: InfrastructureError | None = None

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine."""
        return bool(self.path) and "://" not in self.path

    def warnings(self, limits: LimitsSpec) -> tuple[str, ...]:
        """What is not done for want of a baseline, or of its signatures; one sentence each."""
        if not self.name:
            fields = ", ".join(f"validation_spec.limits.{field}" for field in limits.relative())
            return (f"There is no baseline yet{': not applied: ' + fields if fields else ''}.",)
        if self.problem is None and not self.signatures:
            return (f"The signatures of the baseline {self.name} cannot be read here: they are not compared.",)
        return ()


def read_baseline(
    given: str,
    tag_set: Iterable[str],
    *,
    tensorflow: bool,
    remote: bool,
    graph_path: str = "",
    find: Callable[[str], FoundModel] = find_saved_model,
    described: Signatures | None = None,
) -> Baseline:
    """The baseline at a path.

    Args:
      given: the path; empty: there is no baseline yet.
      tag_set: of the graph that is served.
      tensorflow: whether it is a SavedModel that is served.
      remote: whether the serving platform reads remote stores.
      graph_path: a local copy of a remote model's graph; empty: there is none.
      find: finds the model's directory.
      described: the signatures that the spec describes, of a model whose files tell none.
    """
    if not given:
        return Baseline("")
    is_local = "://" not in given
    try:
        if not (is_local or remote):
            raise InfrastructureError(ReasonCode.MODEL_NOT_FOUND, "It is not a local path.")
        path = find(given).path if is_local else given
        signatures: Signatures = described or {}
        if tensorflow and is_local:
            signatures = signatures_of(check_model_files(path, tag_set).signatures)
        elif tensorflow and graph_path:
            signatures = signatures_of(read_graph(graph_path, tag_set).signatures)
    except (AttemptFailed, InfrastructureError) as error:
        return Baseline(given, problem=baseline_failed(given, error))
    return Baseline(given, path, signatures)
