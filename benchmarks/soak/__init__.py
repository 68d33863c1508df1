"""Many validations in one process, and an embedded server that serves for long: what grows, and what is left behind."""
