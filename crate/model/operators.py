"""The two operators of a layer, by name: a compression and a sparsifier.

To add one: write a module, add a row here and its price in `crate.cost`, and add the name to the
choices of `model.compression` or `model.sparsifier`. A class of the user needs no row: its dotted
name, or the class, is given instead of a name.

B images, N tokens, d embed_dim.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from torch import Tensor, nn

from crate.model.ista import ISTA
from crate.model.mssa import MSSA
from crate.model.trace import LayerTrace


class Compression(Protocol):
    """Mix tokens so that they need fewer bits: a module built as `kind(dim, num_heads, head_dim)`.

    The layer adds the output to the stream: Z^{l+1/2} = Z^l + compression(LN(Z^l)).
    """

    def __call__(self, tokens: Tensor, record: LayerTrace | None = None) -> Tensor:
        """Return the update of the stream: (B, N, d) -> (B, N, d).

        Fill `record.projection` (B, K, N, p) if there is a record, and `record.attention`
        (B, K, N, N) if `record.with_attention` asks for it. A field stays None where the
        operator has no such tensor.
        """


class Sparsifier(Protocol):
    """Make each token sparse: a module built as `kind(dim, step_size, sparsity)`.

    Two class attributes, True or False, say how the layer uses it:

    - `has_skip` (default False): True adds the output to the stream, as for an MLP,
      Z^{l+1} = Z^{l+1/2} + sparsifier(LN(Z^{l+1/2})). False makes the output the new stream, as for
      ISTA, whose step starts from its input: Z^{l+1} = sparsifier(LN(Z^{l+1/2})).
    - `has_norm` (default True): False leaves the LayerNorm out.
    """

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the sparse tokens, or their update if `has_skip`: (B, N, d) -> (B, N, d)."""


NewCompression = Callable[[int, int, int], nn.Module]  # dim, num_heads, head_dim
NewSparsifier = Callable[[int, float, float], nn.Module]  # dim, step_size, sparsity
New = TypeVar("New", NewCompression, NewSparsifier)

COMPRESSIONS: dict[str, NewCompression] = {"mssa": MSSA}
SPARSIFIERS: dict[str, NewSparsifier] = {"ista": ISTA}


def resolve(role: str, given: str | New, rows: Mapping[str, New]) -> New:
    """Return what builds an operator: a row of `rows`, or the class that `given` is or names.

    `role` is the argument's name, for messages. Raise ValueError for a name that is no row, and
    for a dotted name that leads to no class or function.
    """
    if not isinstance(given, str):
        return given
    if given in rows:
        return rows[given]
    module_name, _, attribute = given.rpartition(".")
    allowed = f"allowed {', '.join(rows)}, a class, or its dotted name such as package.module.Class"
    if not module_name:
        raise ValueError(f"{role}: given {given!r}, {allowed}")
    try:
        kind: New | None = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError as error:
        raise ValueError(f"{role}: given {given!r}, which cannot be imported: {error}") from error
    if not callable(kind):
        raise ValueError(f"{role}: given {given!r}, but {module_name} has no class {attribute}")
    return kind
