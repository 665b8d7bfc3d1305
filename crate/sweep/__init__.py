"""Sweeps: ablations as files, and what their runs say. Imports no torch."""
