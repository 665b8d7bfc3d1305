"""The stem: cut an image into patches and make each one a token.

B images, C in_chans, H x W pixels, h x w patches of P x Q pixels, N = h*w, d embed_dim.
"""

from __future__ import annotations

from collections.abc import Iterable

from timm.layers import register_notrace_module
from torch import Tensor, nn

Size = int | tuple[int, int]


@register_notrace_module  # torch.fx cannot trace the check of the images' size
class PatchEmbedding(nn.Module):
    """Turn images into tokens: LayerNorm(Linear(LayerNorm(patch))), as in [C].

    `img_size` and `patch_size` are in pixels, one number for a square or (height, width).
    Raise ValueError if the patch does not divide the image.
    """

    def __init__(self, img_size: Size, patch_size: Size, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.img_size = _pair("img_size", img_size)
        self.patch_size = _pair("patch_size", patch_size)
        if any(side % patch for side, patch in zip(self.img_size, self.patch_size, strict=True)):
            raise ValueError(
                f"patch_size: given {_by(self.patch_size)}, allowed whatever divides img_size "
                f"{_by(self.img_size)} in both directions"
            )
        self.in_chans = in_chans
        self._image_shape = [in_chans, *self.img_size]
        self._allowed = (
            f"allowed {_by(self._image_shape)} (channels x height x width): resize the images, or "
            "build the model with their img_size and in_chans; crate.model.load_weights "
            "interpolates trained positions to another img_size"
        )
        self.grid_size = tuple(
            side // patch for side, patch in zip(self.img_size, self.patch_size, strict=True)
        )
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        patch_dim = self.patch_size[0] * self.patch_size[1] * in_chans
        self.patch_norm = nn.LayerNorm(patch_dim)
        self.proj = nn.Linear(patch_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def cut(self, images: Tensor) -> Tensor:
        """Return patches row by row, (B, C, H, W) -> (B, N, P*Q*C).

        The values of a patch are ordered (row, column, channel), as the weights of [C] need them.
        """
        h, w = self.grid_size
        p, q = self.patch_size
        patches = images.reshape(images.shape[0], self.in_chans, h, p, w, q)  # (B, C, h, P, w, Q)
        patches = patches.permute(0, 2, 4, 3, 5, 1)  # (B, h, w, P, Q, C)
        return patches.flatten(3).flatten(1, 2)  # (B, N, P*Q*C)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens without CLS and positions: (B, C, H, W) -> (B, N, d).

        Raise ValueError for images of another size or number of channels.
        """
        if list(images.shape[1:]) != self._image_shape:
            given = " x ".join([str(side) for side in images.shape[1:]])  # as TorchScript can
            raise ValueError(f"images: given {given}, {self._allowed}")
        patches = self.cut(images)  # (B, N, P*Q*C)
        return self.norm(self.proj(self.patch_norm(patches)))  # (B, N, d)


def _pair(name: str, size: Size) -> tuple[int, int]:
    """Return a size, one number or two, as (height, width); raise ValueError for others."""
    pair = tuple(size) if isinstance(size, Iterable) else (size, size)
    if len(pair) != 2 or any(not isinstance(side, int) or side < 1 for side in pair):
        raise ValueError(
            f"{name}: given {size}, allowed pixels >= 1, one number or (height, width)"
        )
    return pair


def _by(shape: Iterable[int]) -> str:
    return " x ".join(str(side) for side in shape)
