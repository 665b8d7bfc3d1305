"""CRATE, layer by layer. Importing this package registers the four sizes with timm.

Sources, cited by letter in the modules:
[P] "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129.
[C] the authors' code, github.com/Ma-Lab-Berkeley/CRATE.
"""

from crate.model import registration  # noqa: F401  (registers with timm)
from crate.model.crate import CRATE
from crate.model.ista import ISTA
from crate.model.mssa import MSSA
from crate.model.operators import COMPRESSIONS, SPARSIFIERS
from crate.model.trace import LayerTrace, Trace
from crate.model.weights import load_weights

__all__ = [
    "COMPRESSIONS",
    "CRATE",
    "ISTA",
    "MSSA",
    "SPARSIFIERS",
    "LayerTrace",
    "Trace",
    "load_weights",
]
