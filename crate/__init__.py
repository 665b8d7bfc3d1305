"""A platform to train, ablate, compare and look inside CRATE, the white-box transformer."""

__version__ = "0.1.0"
