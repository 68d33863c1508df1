"""What a command begins before its imports."""
