"""Exceptions to the rules: multimodal models, p to z."""

from __future__ import annotations

from typing import Any

from ..shrink import laid_over

DAC = {"encoder_hidden_size": 8, "decoder_hidden_size": 64, "hidden_size": 64}

PI0 = {
    "whole": True,
    "tensors": {
        "input_ids": {"tokens": ["S"], "below": 200, "place": [[482, 16]]},
        "pixel_values": {"normal": [1, 3, 56, 56]},
        "pixel_attention_mask": {"ones": [1], "dtype": "bool"},
        "attention_mask": {"ones": ["S"]},
    },
    "sizes": {"S": [27, 24]},
    "pads": {"S": 4},
}
STARTS = {"vision_start_token_id": 470, "audio_start_token_id": 471}
"""Tokens that the default configs leave out, before each picture and sound."""

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "pe_audio_video": {"config": {"audio_video_config": {"audio_config": {"dac_config": DAC}}}},
    "perception_lm": {"config": {"vision_config": {"architecture": "test_vit"}}},
    # A picture and a sound, each between its start and its end.
    "qwen2_5_omni_thinker": {
        "config": STARTS,
        "inputs": {
            "tensors": {
                "input_ids": {
                    "tokens": ["S"],
                    "below": 200,
                    "place": [[470, 1], [481, 4], [472, 1], [471, 1], [482, 16], [473, 1]],
                }
            },
            "sizes": {"S": [35, 32]},
        },
    },
    "qwen3_omni_moe_thinker": {"config": STARTS},
    "qwen2_5_omni": {"config": {"thinker_config": STARTS}},
    "qwen3_omni_moe": {
        "config": {
            "thinker_config": STARTS,
            "talker_config": {"spatial_merge_size": 2, "text_config": {"shared_expert_intermediate_size": 32}},
        }
    },
    # Its boxes are fractions of the page.
    "udop*": {"inputs": {"tensors": {"bbox": {"uniform": ["S", 4]}}}},
    "udop:feature-extraction": {
        "padding_shifts": "the box of a padded position takes the first patch of the picture out of those that stand alone"
    },
    # Zero says that a token belongs to the prompt, whose tokens see one another.
    "paligemma": {"inputs": {"tensors": {"token_type_ids": {"zeros": ["S"]}}}},
    "PI0ForConditionalGeneration": {
        "inputs": laid_over(
            PI0, {"tensors": {"state": {"normal": [32]}, "noise": {"normal": [50, 32]}, "timestep": {"uniform": []}}}
        )
    },
    "PI0Model": {"inputs": laid_over(PI0, {"tensors": {"action_embeds": {"normal": [51, 64]}}})},
    "unlimited_ocr": {"config": {"vision_config": {"sam_config": {"downsample_channels": [32, 64]}}}},
    "videoprism": {
        "inputs": {"suffix": 1},
        "single": "the scores of a text are shares among the films of the whole batch",
    },
    "vilt:feature-extraction": {
        "config": {"max_image_length": -1},
        "single": "it puts the patches of each picture in a random order",
    },
    "vipllava": {"config": {"vision_feature_layers": [-1, -2]}},
    "phi4_multimodal": {"config": {"audio_config": {"nemo_conv_channels": 32}}},
    "qwen4_exp": {
        "config": {
            "text_config": {
                "indexer_n_heads": 4,
                "indexer_kv_heads": 1,
                "indexer_head_dim": 16,
                "indexer_budget": 8,
                "indexer_compress_ratio": 2,
            }
        }
    },
    "siglip*": {
        "padding_shifts": "its text tower takes no notice of the mask and pools the last position, padded or not"
    },
    "qwen2_audio": {
        "config": {"audio_token_id": 470},
        "inputs": {
            "tensors": {
                "input_ids": {"tokens": ["S"], "below": 200, "place": [[470, 16]]},
                "feature_attention_mask": {"ones": [64]},
            },
            "sizes": {"S": [27, 24]},
        },
    },
    "shieldgemma2": {
        "config": {"mm_tokens_per_image": 4, "yes_token_index": 400, "no_token_index": 401},
        "inputs": {"left": "its answer is read at the last position"},
    },
}
