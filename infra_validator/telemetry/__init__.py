"""What goes on in validations, for machines that watch: logs, metrics, traces. Nothing here decides anything."""
