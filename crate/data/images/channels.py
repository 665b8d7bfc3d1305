"""Images of any kind -> tensors with the number of channels that the model sees."""

from __future__ import annotations

from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional


class Channels(nn.Module):
    """Convert an image to a tensor (in_chans, H, W), uint8 unless it is a tensor of another type.

    PIL images are converted by PIL; tensors of one channel and of three into each other.
    """

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.in_chans, self.mode = in_chans, {1: "L", 3: "RGB"}.get(in_chans)

    def forward(self, image: Image.Image | Tensor) -> Tensor:
        if isinstance(image, Image.Image):
            return functional.pil_to_tensor(image.convert(self.mode) if self.mode else image)
        if type(image) is not Tensor:
            image = image.as_subclass(Tensor)
        if image.shape[0] == self.in_chans or self.mode is None:
            return image
        if self.mode == "L":
            return functional.rgb_to_grayscale(image)
        return functional.grayscale_to_rgb(image)
