"""Forwards that stand for what a caller of a class writes around it."""

from __future__ import annotations

import torch
import transformers

from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint, model_class
from pytest_ipfs_accelerate.models.forwards import with_forward
from pytest_ipfs_accelerate.registry.table import load_registry
from pytest_ipfs_accelerate.specs import Recipe


def recipe(model: str, task: str) -> Recipe:
    return load_registry().recipe(model, task)


def test_a_film_is_tracked_as_by_its_class_frame_by_frame() -> None:
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    model = build_checkpoint(recipe("sam2_video", "feature-extraction")).model
    generator = torch.Generator().manual_seed(0)
    films = torch.randn(2, 4, 3, 64, 64, generator=generator)
    points = torch.rand(2, 1, 2, 2, generator=generator) * 60
    labels = torch.ones(2, 1, 2)
    with torch.inference_mode():
        found = model(pixel_values_videos=films, input_points=points, input_labels=labels)
        for sample in range(2):
            session = Sam2VideoInferenceSession(films[sample], 64, 64, dtype=torch.float32)
            prompts = {"point_coords": points[sample][None], "point_labels": labels[sample][None].int()}
            session.add_point_inputs(session.obj_id_to_idx(7), 0, prompts)
            session.obj_with_new_inputs = [7]
            plain = transformers.Sam2VideoModel.forward
            frames = [plain(model, session, frame_idx=frame).pred_masks for frame in range(4)]
            torch.testing.assert_close(found["pred_masks"][sample], torch.cat([frame[:, 0] for frame in frames]))
    assert not torch.equal(found["pred_masks"][0, 1], found["pred_masks"][0, 2])


def test_codes_are_those_of_encode() -> None:
    model = build_checkpoint(recipe("glm_image_vqmodel", "feature-extraction")).model
    hidden = torch.randn(1, 16, 4, 4)
    with torch.inference_mode():
        assert torch.equal(model(hidden_states=hidden).image_tokens, model.encode(hidden).image_tokens)


def test_a_class_with_a_forward_of_its_own_stays_itself() -> None:
    assert with_forward(transformers.BertModel) is transformers.BertModel
    assert model_class(recipe("bert", "fill-mask")) is transformers.BertForMaskedLM
