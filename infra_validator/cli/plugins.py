"""``infra-validator plugins``: what installed packages offer to specs, and how one of them is told what to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from infra_validator import wiring
from infra_validator.core.errors import InfrastructureError, UsageError, did_you_mean
from infra_validator.specs import extensions
from infra_validator.specs.reader import documented

#: group -> (what it is, where its name stands in a spec, what finds its class)
_KINDS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    extensions.PLATFORMS: ("serving platform", "serving_spec", wiring.runner_class),
    extensions.SERVING_BINARIES: ("serving binary", "serving_spec", wiring.serving_binaries_function),
    extensions.CLIENTS: ("client", "", wiring.client_class),
    extensions.CHECKS: ("check", "validation_spec.answers", wiring.check_class),
    extensions.REQUEST_SOURCES: ("request source", "request_spec", wiring.request_source_class),
    extensions.GARBAGE_COLLECTORS: ("garbage collector", "", wiring.garbage_collector),
}
_WRONG_USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Run the command: 0, or 2 where the name is nobody's, or what has it is broken."""
    parser = argparse.ArgumentParser(
        prog="infra-validator plugins",
        description="List what installed packages offer to specs by entry points (docs/extending.md); or, with a name, import it, see "
        "whether it fits, and print what a spec can say of it.",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of those that are listed")
    arguments = parser.parse_args(argv)
    found = extensions.offers(*extensions.GROUPS)
    if arguments.name is None:
        return _list(found)
    named = [offer for offer in found if offer.name == arguments.name]
    if not named:
        hint = did_you_mean(arguments.name, [offer.name for offer in found])
        print(f"infra-validator plugins: no installed package offers {arguments.name!r}.{hint}", file=sys.stderr)
        return _WRONG_USAGE
    return max([_show(offer, found) for offer in named])


def _list(found: Sequence[extensions.Offer]) -> int:
    if not found:
        print("no installed package extends infra-validator")
    for offer in found:
        kind, where, _ = _KINDS[offer.group]
        place = f" ({where}.{offer.name})" if where else ""
        problem = _problem(offer, found)
        print(f"{offer.name}: {kind}{place}, of {offer.package}{f': {problem}' if problem else ''}")
    return 0


def _show(offer: extensions.Offer, found: Sequence[extensions.Offer]) -> int:
    kind, where, fitting = _KINDS[offer.group]
    problem = _problem(offer, found)
    try:
        if problem:
            raise offer.wrong(problem)
        fitting(offer.name)
        lines = documented(offer.config_class(), f"{where}.{offer.name}") if where else []
    except (UsageError, InfrastructureError) as error:
        print(f"infra-validator plugins: {error}", file=sys.stderr)
        return _WRONG_USAGE
    except Exception as error:
        wrong = offer.wrong(f"has a config_class that cannot be read: {type(error).__name__}: {error}")
        print(f"infra-validator plugins: {wrong}", file=sys.stderr)
        return _WRONG_USAGE
    print(f"{offer.name}: {kind}, of {offer.package}: {offer.target}\n")
    print("\n".join(lines).rstrip() or "A spec has nothing to say of it.")
    return 0


def _problem(offer: extensions.Offer, found: Sequence[extensions.Offer]) -> str:
    """Why the name cannot be used, as far as can be told without importing anything; empty if it can."""
    _, where, _ = _KINDS[offer.group]
    if wiring.built_in(offer.group, offer.name):
        return "has the name of what is built in, which is used instead"
    others = [
        other.package
        for other in found
        if other != offer
        and other.name == offer.name
        and (other.group == offer.group or (where and where == _KINDS[other.group][1]))
    ]
    return f"is offered by {' and '.join(others)}, too, so it cannot be used" if others else ""
