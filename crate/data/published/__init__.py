"""Published data sets: where their files are, how they get there, how they are laid out."""
