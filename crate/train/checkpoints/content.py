"""The content of a checkpoint file."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]  # tensors and plain values by name; whoever reads a value checks it
