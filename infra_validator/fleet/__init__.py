"""Many models validated together: which they are, the work, what is kept of it, and the report of all."""
