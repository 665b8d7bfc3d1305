"""What happens inside the layers, handed out by the forward pass itself.

B images, N tokens (CLS first), d embed_dim, K heads, p head_dim.

    trace = Trace(attention=True)
    logits = model(images, trace=trace)
    trace.layers[-1].attention  # (B, K, N, N)

The classes are written out, as TorchScript compiles no dataclass that is declared in this way.
"""

from __future__ import annotations

from torch import Tensor


class LayerTrace:
    """The named tensors of one layer, in the order in which they arise.

    Nothing is detached: call the model under `torch.no_grad()` where no gradient is wanted.
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
        self.projection = projection  # (B, K, N, p) U_k^T LN(z)
        self.attention = attention  # (B, K, N, N), only if with_attention
        self.half = half  # (B, N, d) Z^{l+1/2}, MSSA's output added to the stream
        self.tokens_out = tokens_out  # (B, N, d) Z^{l+1}, the sparse code


class Trace:
    """A request to fill `layers` in the next forward pass, one LayerTrace a layer.

    `attention` also keeps every attention map, B*K*N*N numbers a layer, and computes it
    explicitly instead of in a fused kernel. Each forward pass starts `layers` afresh.
    """

    def __init__(self, attention: bool = False) -> None:
        self.attention = attention
        self.layers: list[LayerTrace] = []

    def restart(self) -> None:
        """Drop the records of an earlier forward pass."""
        layers: list[LayerTrace] = []  # a new list, of a type that TorchScript can tell
        self.layers = layers

    def new_layer(self) -> LayerTrace:
        """An empty record, appended to `layers`."""
        self.layers.append(LayerTrace(with_attention=self.attention))
        return self.layers[-1]
