"""Tasks that answer for every pixel of a picture. Without a processor the answer has the size that the model puts out; with
one, that of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..parity import mask_differences
from .base import Row, Task, batched


class Dense(Task):
    """Shared by them: one map of numbers, by the names that models give it."""

    names: ClassVar[tuple[str, ...]]
    answer: ClassVar[str]

    def read(self, outputs: Row) -> Any:
        return {self.answer: self.map(outputs).float().numpy()}

    def map(self, outputs: Row) -> Tensor:
        """The map among the outputs.

        Raises:
            KeyError: there is none under any of its names.
        """
        for name in self.names:
            if name in outputs:
                return outputs[name]
        raise KeyError(f"none of {', '.join(self.names)} among the outputs {', '.join(outputs)}")

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)


class DepthEstimation(Dense):
    """How far each pixel is, in the unit of the model."""

    names = ("predicted_depth",)
    answer = "predicted_depth"

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        resize = getattr(self.processor, "post_process_depth_estimation", None)
        if resize is None:
            return self.read(outputs)
        found = resize(batched(outputs), target_sizes=[(natural.height, natural.width)])[0]
        return {self.answer: found[self.answer].float().numpy()}


class NormalEstimation(Dense):
    """Which way each pixel faces: three numbers a pixel."""

    names = ("predicted_normals", "normals", "logits", "predicted_normal")
    answer = "normals"


class PointmapEstimation(Dense):
    """Where in space each pixel is: three numbers a pixel."""

    names = ("pointmaps", "predicted_pointmap", "pointmap", "points", "logits")
    answer = "points"


class ImageMatting(Dense):
    """How opaque each pixel of the foreground is."""

    names = ("alphas", "predicted_alpha", "alpha", "logits")
    answer = "alpha"


class ImageToImage(Dense):
    """A picture made of a picture."""

    names = ("reconstruction",)
    answer = "image"


class ImageSegmentation(Task):
    """What each pixel belongs to: the label map of a model that scores pixels, or that of one that scores masks, each pixel
    given to the class whose masks cover it most."""

    def read(self, outputs: Row) -> Any:
        return label_map(outputs).numpy()

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        resize = getattr(self.processor, "post_process_semantic_segmentation", None)
        if resize is None:
            return self.read(outputs)
        return resize(batched(outputs), target_sizes=[(natural.height, natural.width)])[0].numpy()

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        return mask_differences(expected, actual, bound, where)


def label_map(outputs: Row) -> Tensor:
    """Height × width, the class of each pixel.

    Raises:
        KeyError: the outputs hold neither scores of pixels nor masks.
    """
    for classes, masks in (("class_queries_logits", "masks_queries_logits"), ("logits", "pred_masks")):
        if classes in outputs and masks in outputs:
            weights = outputs[classes].float().softmax(-1)[..., :-1]
            covered = outputs[masks].float().sigmoid()
            return torch.einsum("qc,qhw->chw", weights, covered.reshape(-1, *covered.shape[-2:])).argmax(0)
    for name in ("logits", "pred_masks"):
        if name in outputs:
            return outputs[name].float().argmax(0)
    raise KeyError(f"neither scores nor masks among the outputs {', '.join(outputs)}")
