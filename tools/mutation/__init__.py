"""Mutation testing: faults put into the code on purpose, one at a time, and whether the unit tests notice.

``operators.py`` and ``mutants.py`` make the mutants with cosmic-ray, ``forks.py`` runs a module's tests on each in a process of
the project's environment, ``__main__.py`` counts. What is mutated, by which tests it is judged and why a survivor may live stands in
``component_tests/mutants.yaml``.
"""
