"""The commands of `python -m crate.sweep`."""
