"""Many models validated together."""
