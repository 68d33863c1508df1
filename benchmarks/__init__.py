"""Side-by-side measurements: each script prints one table of what was measured in one run."""
