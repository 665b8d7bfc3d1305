"""Training: `loop` reads from top to bottom and alone knows the rest of this room."""
