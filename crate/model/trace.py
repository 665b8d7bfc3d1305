"""The tensors inside the layers, as the forward pass computes them.

B images, N tokens (CLS first), d embed_dim, K heads, p head_dim.

    trace = Trace(attention=True)
    logits = model(images, trace=trace)
    trace.layers[-1].attention  # (B, K, N, N)

These are plain classes because TorchScript cannot compile such dataclasses.
"""

from __future__ import annotations

from torch import Tensor


class LayerTrace:
    """The named tensors of one layer, in the order in which they are computed.

    The layer's operators fill the fields that they have; another field stays None. No tensor is
    detached: call the model under `torch.no_grad()` if you need no gradient.
    """

    def __init__(
        self,
        with_attention: bool = False,
        tokens_in: Tensor | None = None,
        projection: Tensor | None = None,
        attention: Tensor | None = None,
        half: Tensor | None = None,
        tokens_out: Tensor | None = None,
    ) -> None:
        self.with_attention = with_attention
        self.tokens_in = tokens_in  # (B, N, d) Z^l
        self.projection = projection  # (B, K, N, p) in MSSA: U_k^T LN(z)
        self.attention = attention  # (B, K, N, N), only if with_attention
        self.half = half  # (B, N, d) Z^{l+1/2}, the stream after compression
        self.tokens_out = tokens_out  # (B, N, d) Z^{l+1}, the stream after sparsification


class Trace:
    """A request to fill `layers` in the next forward pass, with one LayerTrace per layer.

    `attention=True` also stores every attention map, B*K*N*N numbers per layer, and computes it
    explicitly instead of in a fused kernel. Each forward pass replaces `layers`.
    """

    def __init__(self, attention: bool = False) -> None:
        self.attention = attention
        self.layers: list[LayerTrace] = []

    def restart(self) -> None:
        """Drop the records of an earlier forward pass."""
        layers: list[LayerTrace] = []  # TorchScript needs the type of an empty list
        self.layers = layers

    def new_layer(self) -> LayerTrace:
        """Append an empty record to `layers`, and return it."""
        self.layers.append(LayerTrace(with_attention=self.attention))
        return self.layers[-1]
