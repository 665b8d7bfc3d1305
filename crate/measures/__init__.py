"""The measures of a layer's tokens in the paper: how compressed they are, and how sparse."""

from crate.measures.coding_rate import coding_rate
from crate.measures.sparsity import nonzero_fraction

__all__ = ["coding_rate", "nonzero_fraction"]
