"""Exceptions to the rules: multimodal models, i to o."""

from __future__ import annotations

from typing import Any

PINPOINTS = {"config": {"image_grid_pinpoints": [[56, 112], [112, 56]]}}
FILM = {"pixel_values": {"normal": [4, 3, 64, 64]}}

KOSMOS = {
    "config": {"latent_query_num": 4},
    "inputs": {"tensors": {"image_embeds_position_mask": {"zeros": ["S"], "set": [[2, 4, 1]]}}},
}
"""Marks the positions that the four features of the picture go to."""

WITHOUT_PICTURE = {
    "inputs": {
        "tensors": dict.fromkeys(("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask", "cross_attention_mask"))
    }
}
"""Of the parts of mllama that only take text."""

PACKED = {"single": "it takes the patches of all pictures packed into one row, and leaves them so"}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "kosmos-2": KOSMOS,
    "layoutlmv3": {"config": {"hidden_size": 96, "coordinate_size": 16, "shape_size": 16}},
    "llama4": {"config": {"vision_config": {"intermediate_size": 256, "vision_output_dim": 64}}},
    "llava_next": PINPOINTS,
    "llava_next_video": PINPOINTS,
    "llava_onevision": PINPOINTS,
    "muse_glimmer_assistant": {
        "config": {"target_layer_ids": [0, 1]},
        "inputs": {
            "tensors": {
                "noise_embeds": {"normal": [16, 64]},
                "context_hidden_states": {"normal": [6, 128]},
                "attention_mask": {"ones": [22]},
                "position_ids": {"count": [22]},
            }
        },
    },
    "molmo2": {
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [1, 16, 588], "join": "concat"},
                "image_token_pooling": {
                    "value": [[4 * row + column for column in range(4)] for row in range(4)],
                    "join": "concat",
                },
                "image_grids": {"value": [[2, 2, 0, 0]], "join": "concat"},
            }
        },
        "single": "it counts patches over the pictures of the whole batch, which no input of one sample can say",
    },
    # Its default text model lists 52 layers by name; their graph was rewritten for more than ten minutes.
    "nemo_speechlm": {
        "config": {"text_config": {"layers_block_type": ["linear_attention", "moe", "full_attention", "moe"]}}
    },
    "nemotron_h_omni": {
        "config": {"audio_config": {"projection_hidden_size": 64, "projection_bias": False}},
        "inputs": {"tensors": {"pixel_values": {"normal": [16, 768], "join": "concat"}}},
    },
    "omdet-turbo": {
        "config": {
            "apply_layernorm_after_vision_backbone": False,
            "encoder_in_channels": [16, 24, 32],
            "text_projection_in_dim": 64,
            "text_projection_out_dim": 64,
            "vision_features_channels": [32, 32, 32],
            "encoder_hidden_dim": 32,
            "decoder_hidden_dim": 32,
            "d_model": 32,
        },
        "inputs": {
            "whole": True,
            "tensors": {
                "pixel_values": {"normal": [3, 64, 64]},
                "classes_input_ids": {"tokens": [2, 6], "below": 200, "join": "concat"},
                "classes_attention_mask": {"ones": [2, 6], "join": "concat"},
                "tasks_input_ids": {"tokens": [6], "below": 200},
                "tasks_attention_mask": {"ones": [6]},
                "classes_structure": {"value": [2], "join": "concat"},
            },
        },
    },
    "kimi_k25*": {"inputs": {"tensors": {"pixel_values": {"normal": [16, 3, 14, 14], "join": "concat"}}}},
    "janus": {
        "config": {
            "vq_config": {
                "base_channels": 32,
                "channel_multiplier": [1, 1, 1],
                "num_res_blocks": 1,
                "num_embeddings": 64,
                "latent_channels": 32,
            }
        }
    },
    "minicpm_ocr_vision": PACKED,
    "minicpmv4_7_vision": PACKED,
    "mllama": {
        "config": {
            "vision_config": {
                "intermediate_layers_indices": [0, 1],
                "vision_output_dim": 192,
                "supported_aspect_ratios": [[1, 1]],
            },
            "text_config": {"cross_attention_layers": [1, 3]},
        },
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [1, 4, 3, 64, 64]},
                "aspect_ratio_ids": {"value": [1]},
                "aspect_ratio_mask": {"value": [[1, 1, 1, 1]]},
                "cross_attention_mask": {"ones": ["S", 1, 4]},
            }
        },
    },
    "mllama:image-feature-extraction": {"inputs": {"tensors": {"cross_attention_mask": None}}},
    "MllamaForCausalLM": {**WITHOUT_PICTURE, "config": {"cross_attention_layers": [1, 3]}},
    "MllamaTextModel": WITHOUT_PICTURE,
    "instructblipvideo": {
        "config": {"video_token_index": 470},
        "inputs": {
            "tensors": {
                **FILM,
                "qformer_attention_mask": {"ones": [11]},
                "input_ids": {"tokens": ["S"], "below": 200, "place": [[470, 16]]},
            },
            "sizes": {"S": [27, 24]},
        },
    },
    "inkling2": {
        "config": {
            "text_config": {"unpadded_vocab_size": 500},
            "vision_config": {"projection_hidden_dim": 64, "patch_size": 4},
        },
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [4, 8, 8, 3], "join": "concat"},
                "image_grid_thw": {"value": [[1, 2, 2]], "join": "concat"},
            }
        },
    },
    "inkling_mm_model": {
        "config": {
            "vision_config": {"patch_size": 8},
            "audio_config": {"n_mel_bins": 8, "mel_vocab_size": 16},
        },
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [4, 2, 8, 8, 3], "join": "concat"},
                "audio_input_ids": {"codes": [6, 8], "below": 16},
            }
        },
    },
    "instructblip": {
        "config": {"image_token_index": 490},
        "inputs": {
            "tensors": {
                "input_ids": {"tokens": ["S"], "below": 200, "place": [[490, 4]]},
                # With the four queries not as many as there are tokens of text: those are trimmed by its mask.
                "qformer_input_ids": {"tokens": [9], "below": 200},
            },
            "sizes": {"S": [15, 12]},
        },
    },
    "InstructBlip*Model": {"inputs": {"tensors": {"decoder_input_ids": None}}},
    "kosmos-2.5": KOSMOS,
    "Kosmos2*ForConditionalGeneration": {
        "padding_shifts": "the position of a generated token is the length of the cache, which counts the padding"
    },
    "kyutai_speech_to_text": {
        "config": {
            "vocab_size": 200,
            "num_codebooks": 4,
            "codebook_vocab_size": 65,
            "audio_bos_token_id": 64,
            "audio_pad_token_id": 460,
            "bos_token_id": 199,
            "codec_config": {"codebook_dim": 64, "codebook_size": 64, "num_quantizers": 4},
        },
    },
    "KyutaiSpeechToTextModel": {
        "inputs": {
            "whole": True,
            "sizes": {"S": [11, 8]},
            "pads": {"S": 4},
            "tensors": {"input_ids": {"codes": ["S", 5], "below": 64}, "attention_mask": {"ones": ["S"]}},
        },
        "tensors only": "each position holds a token of text and the codes of four codebooks",
    },
    "KyutaiSpeechToTextForConditionalGeneration": {
        "inputs": {
            "sizes": None,
            "pads": None,
            "tensors": {"input_ids": None, "attention_mask": None, "input_values": {"normal": [1, 15360]}},
        }
    },
}
