"""What happens inside the layers, handed out by the forward pass itself.

B images, N tokens (CLS first), d embed_dim, K heads, p head_dim.

    trace = Trace(attention=True)
    logits = model(images, trace=trace)
    trace.layers[-1].attention  # (B, K, N, N)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class LayerTrace:
    """The named tensors of one layer, in the order in which they arise.

    Nothing is detached: call the model under `torch.no_grad()` where no gradient is wanted.
    """

    with_attention: bool = False
    tokens_in: Tensor | None = None  # (B, N, d) Z^l
    projection: Tensor | None = None  # (B, K, N, p) U_k^T LN(z)
    attention: Tensor | None = None  # (B, K, N, N), only if with_attention
    half: Tensor | None = None  # (B, N, d) Z^{l+1/2}, MSSA's output added to the stream
    tokens_out: Tensor | None = None  # (B, N, d) Z^{l+1}, the sparse code


@dataclass
class Trace:
    """A request to fill `layers` in the next forward pass, one LayerTrace a layer.

    `attention` also keeps every attention map, B*K*N*N numbers a layer, and computes it
    explicitly instead of in a fused kernel. Each forward pass starts `layers` afresh.
    """

    attention: bool = False
    layers: list[LayerTrace] = field(default_factory=list)

    def restart(self) -> None:
        """Drop the records of an earlier forward pass."""
        self.layers = []

    def new_layer(self) -> LayerTrace:
        """An empty record, appended to `layers`."""
        self.layers.append(LayerTrace(with_attention=self.attention))
        return self.layers[-1]
