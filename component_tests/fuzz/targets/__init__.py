"""Every parser that is fuzzed, by name."""

from __future__ import annotations

from component_tests.fuzz.target import Target
from component_tests.fuzz.targets.answers import TARGETS as ANSWERS
from component_tests.fuzz.targets.files import TARGETS as FILES
from component_tests.fuzz.targets.platforms import TARGETS as PLATFORMS
from component_tests.fuzz.targets.servers import TARGETS as SERVERS
from component_tests.fuzz.targets.texts import TARGETS as TEXTS

TARGETS: dict[str, Target] = {target.name: target for target in (*FILES, *TEXTS, *SERVERS, *ANSWERS, *PLATFORMS)}
