"""The TFX component, recorded in ML Metadata under the execution type of TFX's own InfraValidator.

For dashboards and queries that look for TFX's type; all else is that of ``infra_validator.component``.
"""

from __future__ import annotations

from infra_validator import component

TFX_TYPE = "tfx.components.infra_validator.component.InfraValidator"


class InfraValidator(component.InfraValidator):
    """See the base class. The node's id is ``InfraValidator`` in both."""

    @classmethod
    def get_class_type(cls) -> str:
        """The execution type's name; called by TFX's compiler and launchers."""
        return TFX_TYPE
