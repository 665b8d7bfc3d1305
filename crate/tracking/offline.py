"""The folders of runs that logged to Weights & Biases offline. Imports no wandb."""

from __future__ import annotations

from pathlib import Path


def offline_folders(run: Path) -> list[Path]:
    """Return the offline folders of a run's attempts, oldest first.

    Each attempt's folder repeats all rows that an earlier, killed attempt logged, so uploading the
    newest last leaves every row.
    """
    return sorted((run / "wandb").glob("offline-run-*"))


def unsynced(run: Path) -> list[Path]:
    """Return the offline folders of a run that wandb has not marked as uploaded."""
    return [folder for folder in offline_folders(run) if not any(folder.glob("*.wandb.synced"))]
