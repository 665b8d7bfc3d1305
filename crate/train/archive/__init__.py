"""What a run keeps in its folder while it trains: checkpoints, metrics, status and the curve."""
