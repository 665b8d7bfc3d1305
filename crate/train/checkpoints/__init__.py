"""Checkpoint files: write, verify, read, and start from."""
