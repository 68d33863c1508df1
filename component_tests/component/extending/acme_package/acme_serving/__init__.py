"""An example of a package that extends infra-validator; docs/extending.md walks through it."""
