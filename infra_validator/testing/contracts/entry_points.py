"""What every entry point must be: a name in a spec, with settings that are read, checked and documented as all others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from infra_validator import wiring
from infra_validator.core.errors import SpecError
from infra_validator.specs import extensions
from infra_validator.specs.reader import documented, read, to_dict

_FAMILIES = {
    extensions.PLATFORMS: wiring.runner_class,
    extensions.SERVING_BINARIES: wiring.serving_binaries_function,
    extensions.CLIENTS: wiring.client_class,
    extensions.CHECKS: wiring.check_class,
    extensions.REQUEST_SOURCES: wiring.request_source_class,
}


class EntryPointContract:
    """What an entry point promises. The package must be installed.

    Attributes:
      group: of the entry point, e.g. ``infra_validator.platforms``.
      name: by which specs call it.
      config: an example of its settings, as they stand in a spec.
      wrong_configs: settings that must be refused -> the field that the refusal names.
    """

    group: str
    name: str
    config: dict[str, object] = {}
    wrong_configs: tuple[tuple[dict[str, object], str], ...] = ()

    def _offer(self) -> extensions.Offer:
        offer = extensions.find(self.name, (self.group,))
        assert offer is not None, f"no installed package offers {self.name!r} in {self.group}"
        return offer

    def test_the_name_leads_to_its_family(self) -> None:
        self._offer().load()
        assert _FAMILIES[self.group](self.name)

    def test_the_name_is_not_that_of_something_else(self) -> None:
        assert not wiring.built_in(self.group, self.name), "what is built in has that name, and it wins"
        if self.group in (extensions.PLATFORMS, extensions.SERVING_BINARIES):  # they stand side by side in a spec
            extensions.find(self.name, (extensions.PLATFORMS, extensions.SERVING_BINARIES))

    def test_its_settings_are_documented(self) -> None:
        if self.group == extensions.CLIENTS:
            return  # a client has no part in a spec
        text = "\n".join(documented(self._offer().config_class(), self.name))
        for field in dataclasses.fields(self._offer().config_class()):
            assert f"`{field.name}`" in text
            assert field.metadata["doc"].strip().endswith("."), f"{field.name}: its meaning is no sentence"

    def test_its_settings_are_read_and_written(self) -> None:
        if self.group == extensions.CLIENTS:
            return
        kind = self._offer().config_class()
        spec: Any = read(kind, self.config, self.name)
        assert read(kind, to_dict(spec), self.name) == spec
        assert dataclasses.replace(spec) == spec
        with pytest.raises(SpecError, match="there is no such field"):
            read(kind, {**self.config, "a_field_that_nobody_has": 1}, self.name)

    def test_settings_that_are_wrong_are_refused_by_their_field(self) -> None:
        for config, field in self.wrong_configs:
            with pytest.raises(SpecError) as refused:
                read(self._offer().config_class(), config, self.name)
            assert refused.value.field == f"{self.name}.{field}"
