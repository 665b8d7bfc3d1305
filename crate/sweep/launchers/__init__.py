"""The launchers: what runs frozen points."""
