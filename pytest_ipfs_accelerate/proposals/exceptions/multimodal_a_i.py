"""Exceptions to the rules: multimodal models, a to i."""

from __future__ import annotations

from typing import Any

from ..shrink import BACKBONE
from .language import COMPASS

GEMMA_PATCHES: dict[str, Any] = {
    "pixel_values": {"normal": [36, 768]},
    "image_position_ids": {"value": [[column, row] for row in range(6) for column in range(6)]},
}
"""Six by six patches, which pooling makes four of."""

GEMMA_INPUTS: dict[str, Any] = {
    "inputs": {
        "tensors": {
            **GEMMA_PATCHES,
            "input_features": {"normal": [64, 128]},
            "input_features_mask": {"ones": [64], "dtype": "bool"},
        }
    }
}

PROJECTED = {"inputs": {"tensors": {"input_features_mask": {"ones": [15], "dtype": "bool"}}}}
"""A mask over what the projector makes: three features of every fifteen frames."""

SAMPLES = {"inputs": {"tensors": {"chunk_sample_lengths": {"value": 64 * 160}}}}

UNMASKED_DINO = {
    "config": {"max_text_len": 11},
    "inputs": {"sizes": {"S": [11, 11]}, "pads": None},
    "padding_shifts": "the scores of masked tokens, and of positions beyond the text, are -inf by nature",
}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "aria": {"config": {"projector_patch_to_query_dict": {"16": 4}}},
    "Blip2ForImageTextRetrieval": {
        "config": {"qformer_config": {"use_qformer_text_input": True}, "image_token_index": None},
    },
    "Blip2Model": {
        "inputs": {
            "tensors": {"input_ids": {"place": [[490, 4]]}, "decoder_input_ids": None},
            "sizes": {"S": [15, 12]},
        }
    },
    # Its processor gives types: without them the text is read causally where it is padded, both ways where it is not.
    "colpali": {"inputs": {"tensors": {"token_type_ids": {"zeros": ["S"]}}}},
    "colmodernvbert": {"inputs": {"tensors": {"pixel_values": {"normal": [1, 3, 64, 64]}}}},
    "dots3_note": {
        "config": {
            "text_config": {
                "swa_num_attention_heads": 4,
                "swa_num_key_value_heads": 4,
                "swa_q_lora_rank": 16,
                "swa_kv_lora_rank": 16,
                "swa_head_dim": 16,
                "swa_qk_nope_head_dim": 8,
                "swa_v_head_dim": 16,
            },
            "vision_config": {"adapter_out_dim": 64},
            "audio_config": {"adapter_out_dim": 64, "samples_per_token": 1280},
        }
    },
    "Dots3NoteModel": SAMPLES,
    "Dots3NoteForConditionalGeneration": SAMPLES,
    # Its own tower needs timm; this one makes the same map of features.
    "fast_vlm": {
        "config": {"vision_config": {**BACKBONE, "hidden_size": 32, "architecture": None, "model_args": None}},
    },
    # Seven frames of a sound lie side by side in one.
    "fun_asr_nano": {
        "config": {"adaptor_config": {"intermediate_size": 16}, "audio_config": {"num_mel_bins": 8}},
        "inputs": {"tensors": {"input_features": {"normal": [12, 56]}, "input_features_mask": {"ones": [12]}}},
    },
    "gemma3n": {"config": {"vision_config": {"architecture": "test_vit"}}},
    "glm5_next": {"config": {"text_config": {"index_topk": 16}}},
    "granite_docling": {
        "inputs": {"tensors": {"pixel_attention_mask": {"ones": [1], "dtype": "bool"}}},
    },
    "aimv2": {"inputs": {"tensors": {"input_ids": {"at": [[-1, 2]]}}}, "config": {"text_config": {"eos_token_id": 2}}},
    "chameleon": {
        "config": {
            "vocabulary_map": {
                "<image>": 490,
                **{f"IMGIMG{letters}Z": 300 + rank for rank, letters in enumerate("ABCDEFGH")},
            },
            "vq_config": {
                "num_embeddings": 8,
                "base_channels": 32,
                "latent_channels": 16,
                "embed_dim": 16,
                "resolution": 64,
            },
        }
    },
    "colqwen2*": {"inputs": {"tensors": {"pixel_values": {"normal": [16, 1176], "join": "stack"}}}},
    "diffusion_gemma": {"config": {"text_config": {"moe_intermediate_size": 32, "num_experts": 4, "top_k_experts": 2}}},
    "diffusion_gemma:feature-extraction": {
        "config": {"canvas_length": 8, "image_token_id": 490},
        "inputs": {
            "left": "the mask of its decoder is over the prompt and then the canvas: padding stands before both",
            "tensors": {
                "input_ids": {"place": [[490, 4]]},
                **GEMMA_PATCHES,
                "decoder_input_ids": {"tokens": [8], "below": 200},
                "decoder_attention_mask": {"ones": ["M"]},
            },
            "sizes": {"S": [15, 12], "M": [23, 20]},
            "pads": {"S": 4, "M": 4},
        },
    },
    "fuyu": {"inputs": {"tensors": {"pixel_values": {"normal": [4, 2700]}}}},
    "glmasr": {
        "config": {"audio_config": {"intermediate_size": 256}},
        "inputs": {"tensors": {"input_features_mask": {"ones": [64]}}},
    },
    "deepseek_vl_hybrid": {"inputs": {"tensors": {"high_res_pixel_values": {"normal": [3, 64, 64]}}}},
    # Features go into six layers of the decoder: two of the tower's own layers, and four parts of its last.
    "granite4_vision": {
        "config": {
            "text_config": {"num_hidden_layers": 6},
            "deepstack_layer_map": [[0, 0], [1, 1]],
            "spatial_target_layers": [2, 3, 4, 5],
            "downsample_rate": "1/2",
            "image_grid_pinpoints": [[64, 128], [128, 64]],
            "image_token_index": 490,
        },
        "inputs": {
            "tensors": {"input_ids": {"tokens": ["S"], "below": 200, "place": [[490, 14]]}},
            "sizes": {"S": [25, 22]},
        },
    },
    "granite_speech": PROJECTED,
    "granite_speech_plus": PROJECTED,
    "idefics": {
        "inputs": {
            "tensors": {"pixel_values": {"normal": [1, 3, 56, 56]}, "image_attention_mask": {"ones": ["S", 1]}},
        }
    },
    "Emu3ForConditionalGeneration": {"inputs": {"tensors": {"image_sizes": {"value": [64, 64]}}}},
    "Emu3Model": {"inputs": {"tensors": {"image_sizes": {"value": [64, 64]}}}},
    "gemma4_vision": {
        "inputs": {
            "whole": True,
            "tensors": {
                "pixel_values": {"normal": [36, 768]},
                "pixel_position_ids": GEMMA_PATCHES["image_position_ids"],
            },
        }
    },
    "emu3": {
        "config": {
            "vq_config": {"base_channels": 32, "hidden_size": 128, "codebook_size": 8},
            "vocabulary_map": {
                "<image>": 490,
                "<|extra_200|>": 489,
                **{f"<|visual token {rank:06d}|>": 300 + rank for rank in range(8)},
            },
        }
    },
    "gemma4": {"config": {"audio_config": {"output_proj_dims": 64}}},
    "Gemma4ForConditionalGeneration": GEMMA_INPUTS,
    "Gemma4Model": GEMMA_INPUTS,
    "gemma4_unified": {
        "config": {"vision_config": {"mm_embed_dim": 64, "output_proj_dims": 64}},
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [4, 6912]},
                "image_position_ids": {"value": [[0, 0], [1, 0], [0, 1], [1, 1]]},
                "input_features": {"normal": [6, 64]},
                "input_features_mask": {"ones": [6], "dtype": "bool"},
            }
        },
    },
    "t5gemma:text-encoding": {"config": {"is_encoder_decoder": False}},
    "ernie4_5_vl_moe*": {"config": {"text_config": {"rope_parameters": {"mrope_section": [3, 3, 2]}}}},
    "deepseek_ocr2*": {
        "config": {
            "vision_config": {"sam_config": {"downsample_channels": [32, 64]}},
            "text_config": {"max_position_embeddings": 256},
        }
    },
    "cohere_compass": {"config": {"text_config": COMPASS}},
    "flava:pretraining": {"config": {"return_loss": False}},
    # Six queries and these are not as many as the text has positions.
    "instructblip:feature-extraction": {"inputs": {"tensors": {"qformer_input_ids": {"tokens": [7], "below": 200}}}},
    # The last grid of an input is that of the picture to make.
    "glm_image": {
        "config": {"vq_config": {"latent_channels": 64, "num_embeddings": 128}},
        "inputs": {
            "tensors": {
                "input_ids": {"tokens": ["S"], "below": 200, "place": [[479, 1], [480, 4], [481, 1]]},
                "image_grid_thw": {"value": [[1, 2, 2], [1, 2, 2]]},
                "images_per_sample": {"value": 2},
            },
            "sizes": {"S": [17, 14]},
        },
    },
    "embedding_gemma2": {"inputs": {"tensors": {**GEMMA_PATCHES, "input_features": None, "input_features_mask": None}}},
    "inkling2_vision": {
        "inputs": {
            "tensors": {
                "pixel_values": {"normal": [4, 40, 40, 3], "join": "concat"},
                "image_grid_thw": {"value": [[1, 2, 2]]},
            }
        }
    },
    "*grounding-dino": UNMASKED_DINO,
}
