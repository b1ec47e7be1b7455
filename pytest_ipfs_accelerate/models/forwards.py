"""Forwards from tensors, for classes of transformers whose own takes something else or is not there.

What the caller of such a class writes around it is done here, with the class's own code and weights: a session is opened,
prompted and run over the frames of a film; a quantiser encodes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


class _Tracks(nn.Module):
    """Tracks of one object through films. The class that is mixed in takes a session, and one frame a call."""

    def forward(self, pixel_values_videos: Tensor, input_points: Tensor, input_labels: Tensor) -> dict[str, Tensor]:
        """``pixel_values_videos`` [B, frames, C, H, W]; points [B, 1, P, 2] in pixels of the first frame and their labels
        [B, 1, P]. Gives ``pred_masks`` [B, frames, h, w] and ``object_score_logits`` [B, frames, 1]."""
        samples = zip(pixel_values_videos, input_points, input_labels, strict=True)
        tracks = [self._track(video, points[None], labels[None]) for video, points, labels in samples]
        return {name: torch.stack([track[name] for track in tracks]) for name in tracks[0]}

    def _track(self, video: Tensor, points: Tensor, labels: Tensor) -> dict[str, Tensor]:
        source = sys.modules[type(self).__mro__[2].__module__]
        name = type(self).__name__.removesuffix("Model")
        height, width = video.shape[-2:]
        session = getattr(source, f"{name}InferenceSession")(
            video=video, video_height=height, video_width=width, inference_device=video.device, dtype=video.dtype
        )
        prompts = {"point_coords": points, "point_labels": labels.int()}
        session.add_point_inputs(session.obj_id_to_idx(1), 0, prompts)
        session.obj_with_new_inputs = [1]
        step = super().forward
        frames = [step(inference_session=session, frame_idx=frame) for frame in range(len(video))]
        return {
            "pred_masks": torch.stack([frame.pred_masks.flatten(0, -3)[0] for frame in frames]),
            "object_score_logits": torch.stack([frame.object_score_logits.flatten() for frame in frames]),
        }


class _Encodes(nn.Module):
    """The codes of hidden states."""

    def forward(self, hidden_states: Tensor) -> Any:
        """``hidden_states`` [B, C, H, W]."""
        return self.encode(hidden_states)  # type: ignore[operator]


_FORWARDS: Mapping[str, type[nn.Module]] = {
    "EdgeTamVideoModel": _Tracks,
    "Sam2VideoModel": _Tracks,
    "Sam3TrackerVideoModel": _Tracks,
    "GlmImageVQVAE": _Encodes,
}


@cache
def with_forward(found: Any) -> Any:
    """A class of transformers, or one of the same name that adds the forward it lacks."""
    forward = _FORWARDS.get(found.__name__)
    return found if forward is None else type(found.__name__, (forward, found), {"__module__": found.__module__})
