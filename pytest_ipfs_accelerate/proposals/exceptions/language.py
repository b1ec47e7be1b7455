"""Exceptions to the rules: language models."""

from __future__ import annotations

from typing import Any

LOCAL = "it attends within blocks or hashes that are counted from the first position, padded ones too"
CONVOLVED = "its convolutions over the text read across its end into the padding"
POOLED = "it pools blocks of positions across the end of the text, padded ones too"
RECURRENT = "its recurrent state reads padded tokens too: it applies no mask"

DECISION = {
    "wrapped": {"config_class": "JevConfig", "as": "text_config", "config": {"hidden_size": 64}},
    "single": "its forward reads the first prompt of a batch alone",
    "inputs": {
        "whole": True,
        "tensors": {
            "input_ids": {"tokens": [14], "below": 200},
            "marks": {"value": [10, 12]},
            "num_options": {"value": [2, 3]},
            "question_type_ids": {"value": [0, 1]},
        },
    },
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
COMPASS = {
    "layer_types": ["full_attention", "sliding_attention"],
    "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE},
}
INDEXER = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {"config": {"attn_layer_indices": [1]}},
    "canine": {"padding_shifts": POOLED},
    "convbert": {"padding_shifts": CONVOLVED},
    "*:decision": DECISION,
    "jev:decision": {
        "config": {"hidden_size": 64, "text_config": {"model_type": "qwen3_5_text"}},
        "wrapped": None,
    },
    "deepseek_v4": {"padding_shifts": LOCAL},
    "dots1": {"config": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2}},
    "qwen4_exp_text": {"config": INDEXER},
    "roformer:multiple-choice": {"padding_shifts": "its summary reads the last position, padded or not"},
    "xlm:text-generation": {"padding_shifts": "its generate passes no attention mask on"},
    "dbrx": {
        "config": {
            "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
            "rope_parameters": DEFAULT_ROPE,
        }
    },
    "dots3_note_text": {
        "config": {
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 4,
            "swa_q_lora_rank": 16,
            "swa_kv_lora_rank": 16,
            "swa_qk_nope_head_dim": 8,
            "swa_qk_rope_head_dim": 8,
            "swa_head_dim": 16,
            "swa_v_head_dim": 16,
        }
    },
    "esm": {"config": {"vocab_size": 264, "pad_token_id": 1, "mask_token_id": 32}},
    "funnel": {"padding_shifts": POOLED},
    "gemma4_assistant": {
        "config": {"hidden_size_per_layer_input": 0, "text_config": {"hidden_size_per_layer_input": 0}}
    },
    "glm5_next_text": {"config": {"index_topk": 16}},
    "jamba": {
        "config": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
    },
    "longcat_flash*": {"config": {"num_hidden_layers": 1, "zero_expert_num": 2, "expert_ffn_hidden_size": 32}},
    "nystromformer": {"padding_shifts": CONVOLVED},
    "recurrent_gemma": {"padding_shifts": RECURRENT},
    "reformer": {
        "config": {
            "axial_pos_embds_dim": [16, 48],
            "axial_pos_shape": [8, 16],
            "hidden_size": 64,
            "is_decoder": False,
            "attn_layers": ["local", "lsh"],
            "num_hidden_layers": 2,
        }
    },
    "reformer:text-generation": {"config": {"is_decoder": True}, "padding_shifts": LOCAL},
    "rwkv": {"padding_shifts": RECURRENT},
    "xlstm": {"config": {"num_heads": 4, "qk_dim_factor": 1.0}},
    "yoso": {"padding_shifts": LOCAL},
    "lilt": {"config": {"hidden_size": 96}},
    "neomme": {"inputs": {"tensors": {"pixel_values": None}}},
    "splinter:pretraining": {
        "inputs": {
            "tensors": {"input_ids": {"tokens": ["S"], "below": 200, "at": [[3, 104]]}},
            "sizes": {"S": [11, 8]},
        },
        "config": {"question_token_id": 104},
        "tensors only": "the pretraining head needs a question token, which no tokenizer call puts",
    },
    # Every token in a cell of one column: those outside of it have a logit of -10,000, beside which nothing else counts.
    "tapas": {
        "config": {"type_vocab_sizes": [3, 3, 3, 3, 3, 3, 3], "max_num_columns": 2},
        "inputs": {"tensors": {"token_type_ids": {"codes": ["S", 7], "from": 1, "below": 3}}},
    },
    "t5gemma2:text-classification": {
        "padding_shifts": "its decoder reads the text shifted by one: the last token only where padding follows it"
    },
    "t5gemma2_encoder": {"config": {"text_config": {"dropout_rate": 0.0}}},
    "mobilebert": {
        "config": {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32, "hidden_size": 64},
        "padding_shifts": "it reads each token with its neighbours, the padding after the last one too",
    },
    "zamba": {
        "config": {
            "num_hidden_layers": 4,
            "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
            "attention_hidden_size": 128,
            "attention_head_dim": 32,
        }
    },
    "zamba2": {"config": {"attention_hidden_size": 128, "attention_head_dim": 32, "mamba_ngroups": 1}},
    "cohere_compass_text": {"config": COMPASS},
}
