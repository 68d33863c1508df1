"""A real model server for tests of other code: ``serving`` starts one, ``plugin`` is the same as a pytest fixture."""
