"""A layer: compress the tokens, then sparsify them.

B images, N tokens (CLS first, then the patches), d embed_dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from crate.model.operators import (
    COMPRESSIONS,
    SPARSIFIERS,
    NewCompression,
    NewSparsifier,
    resolve,
)
from crate.model.trace import LayerTrace


class Layer(nn.Module):
    """One alternating step on the sparse rate reduction objective ([P] eq. 11-12, then eq. 17).

    With the default operators: Z^{l+1/2} = Z^l + MSSA(LN(Z^l)), then Z^{l+1} = ISTA(LN(Z^{l+1/2})).
    There is no skip around ISTA, whose step starts from its input.

    The submodules `mssa` and `ista` hold the compression and the sparsifier, whichever these are,
    so that checkpoints and tools find each of them under one name.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int,
        step_size: float,
        sparsity: float,
        compression: str | NewCompression = "mssa",
        sparsifier: str | NewSparsifier = "ista",
    ) -> None:
        super().__init__()
        new_compression = resolve("compression", compression, COMPRESSIONS)
        new_sparsifier = resolve("sparsifier", sparsifier, SPARSIFIERS)
        self.operators = f"compression={_name(compression)}, sparsifier={_name(sparsifier)}"
        self.norm1 = nn.LayerNorm(dim)
        self.mssa = new_compression(dim, num_heads, head_dim)
        has_norm = getattr(new_sparsifier, "has_norm", True)
        self.norm2 = nn.LayerNorm(dim) if has_norm else nn.Identity()
        self.ista = new_sparsifier(dim, step_size, sparsity)
        self.has_skip = bool(getattr(new_sparsifier, "has_skip", False))

    def forward(self, tokens: Tensor, record: LayerTrace | None = None) -> Tensor:
        """Return Z^{l+1}, (B, N, d) -> (B, N, d); fill `record` if there is one."""
        half = tokens + self.mssa(self.norm1(tokens), record)
        tokens_out = self.ista(self.norm2(half))
        if self.has_skip:
            tokens_out = half + tokens_out
        if record is not None:
            record.tokens_in, record.half, record.tokens_out = tokens, half, tokens_out
        return tokens_out

    def extra_repr(self) -> str:
        return self.operators


def _name(operator: str | NewCompression | NewSparsifier) -> str:
    """Return an operator's name as the user gave it, or the dotted name of a class."""
    if isinstance(operator, str):
        return operator
    return f"{operator.__module__}.{getattr(operator, '__qualname__', repr(operator))}"
