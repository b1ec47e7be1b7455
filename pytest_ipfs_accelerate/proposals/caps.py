"""The rules for a number of a config: how large a tiny model lets it be, by the name of its field.

A person adds a rule by adding a line; the first that matches holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HIDDEN, HEADS, HEAD_DIM, INNER, LAYERS, VOCABULARY = 64, 4, 16, 96, 2, 512
POSITIONS, IMAGE, EXPERTS = 128, 64, 4


class Cap(NamedTuple):
    """Fields whose whole name matches ``fields`` hold at most ``most``."""

    fields: re.Pattern[str]
    most: int


def _cap(most: int, *fields: str) -> Cap:
    return Cap(re.compile("|".join(fields)), most)


KEY_VALUE_HEADS = re.compile(
    r"num_key_value_heads|num_kv_heads|\w*_key_value_heads|multi_query_group_num|n_head_kv|\w*_num_kv_heads|kv_n_heads"
)
ATTENTION_HEADS = re.compile(
    r"num_attention_heads|num_heads|n_heads?|encoder_attention_heads|decoder_attention_heads|attention_heads|"
    r"\w*_attention_heads|\w*_num_heads|num_attn_heads"
)
LAYER_COUNTS = re.compile(
    r"num_hidden_layers|n_layers?|num_layers|encoder_layers|decoder_layers|depth|num_(en|de)coder_layers|"
    r"\w*_num_hidden_layers|\w*_(en|de)coder_layers|\w*_num_layers|[lxr]_layers|num_block|resampler_depth|"
    r"num_(spatial|temporal|attention|global|timestamp_prediction)_layers"
)
INNER_SIZES = re.compile(
    r"\w*intermediate_size|(\w+_)?ffn_dim|d_ff|mlp_dim|n_inner|(\w+_)?ffn_hidden_size|dim_ff|dff|\w*_feedforward_dim|"
    r"\w*intermediate_dim|dim_feedforward|ffn_size|\w*_linear_units|\w*_feed_forward_hidden_size|mlp_hidden_dim"
)
HIDDEN_SIZES = re.compile(
    r"(\w+_)?hidden_size|hidden_size_\w+|d_model|n_embd|dim|(\w+_)?embed_dim|embedding_dim|embedding_size|projection_dim|"
    r"project_dim|projection_size|(\w+_)?hidden_dim|emb_dim|word_embed_proj_dim|pooler_output_size|feat_dim|d_embed|"
    r"output_dim|conv_out_channels|mask_feature_size"
)
VOCABULARY_SIZES = re.compile(r"(\w+_)?vocab_size|num_wordpiece_labels|num_bpe_labels|head_out_channels|num_qa_labels")
POSITION_COUNTS = re.compile(
    r"(\w+_)?max_position_embeddings|n_positions|max_seq(uence)?_len(gth)?|max_target_positions|n_ctx|max_context_length|"
    r"model_max_length"
)
EXPERT_COUNTS = re.compile(
    r"num_experts|num_local_experts|n_routed_experts|moe_num_experts|num_routed_experts|\w*_num_experts"
)
IMAGE_SIZES = re.compile(r"image_size|input_size")
WINDOWS = re.compile(r"sliding_window|attention_chunk_size|sliding_window_size")

SINGLE = {
    HEAD_DIM: "head_dim attention_head_dim d_kv d_head kv_channels cross_head_dim swa_head_dim global_head_dim v_head_dim "
    "qk_head_dim kv_lora_rank q_lora_rank o_lora_rank index_head_dim linear_key_head_dim linear_value_head_dim "
    "linear_head_dim mamba_d_head mamba_head_dim mamba_d_state ssm_state_size state_size mamba_chunk_size "
    "train_num_points num_conv_pos_embeddings hidden_size_per_layer_input hidden_size_per_layer subsampling_conv_channels "
    "conv_hidden spkr_embed_dim lang_embed_dim lqe_hidden_dim latent_dim max_text_length",
    # Fewer heads, and a token that none of them looks at ties with others: the ReLU of each is 0.
    16: "index_n_heads",
    8: "qk_rope_head_dim qk_nope_head_dim mamba_n_heads mamba_num_heads laurel_rank num_latents rotary_dim rotary_ndims "
    "num_filters n_filters encoder_n_filters",
    4: "index_topk linear_num_key_heads linear_num_value_heads linear_num_heads swa_num_attention_heads "
    "time_step_rank num_query_tokens num_conv_pos_embedding_groups mamba_dt_rank perceiver_resampler_num_latents "
    "resampler_num_latents mm_tokens_per_image",
    6: "num_queries",
    7: "local_radius",
    2: "swa_num_key_value_heads num_experts_per_tok moe_topk moe_k num_experts_per_token top_k_experts num_parallel_samples",
    1: "moe_top_k n_group topk_group num_expert_group n_shared_experts first_k_dense_replace mamba_n_groups n_groups "
    "num_global_layers",
    0: "insert_layer_id num_denoising num_nextn_predict_layers num_kv_shared_layers max_window_layers",
    32: "upsample_initial_channel max_source_positions tpu_short_seq_length entity_emb_size xvector_output_dim "
    "classifier_proj_size num_pos_feats base_channels acoustic_hidden_size semantic_hidden_size codevector_dim "
    "proj_codevector_dim transducer_dim",
    HIDDEN: "projector_input_dim projector_output_dim d_latents lm_head_size upsample_groups vit_dim vision_dim "
    "adapter_input_size adapter_in_dim inner_dim max_img_size base_image_size unit_embed_dim "
    "vector_quantization_hidden_dimension output_channels decoder_channels",
    INNER: "d_inner",
    128: "max_2d_position_embeddings mamba_d_ssm",
    500: "encoder_hash_byte_group_vocab ngram_vocab_size_base",
    VOCABULARY: "vocab_size_per_layer_input",
}
"""Fields with a cap of their own, by the cap."""

OWN = {field: most for most, fields in SINGLE.items() for field in fields.split()}

PER_STAGE = re.compile(
    r"hidden_sizes|embed_dims?|dims|neck_hidden_sizes|encoder_hidden_sizes|(en|de)coder_in_channels|fusion_hidden_sizes|"
    r"backbone_channel_list|embed_dim_per_stage|stage_hidden_sizes|hidden_dims|embedding_dims|backbone_channels|"
    r"backbone_output_dims|post_process_channels|base_attn_unit_dims|(en|de)coder_channels|layer_hidden_sizes"
)
"""Lists of widths, one a stage of a network that narrows as it deepens: divided, not capped, so that they keep their ratios."""

STAGE_DEPTHS = re.compile(
    r"depths|blocks_per_stage|stage_num_blocks|num_block_repeats|layers_per_stage|stage_depths|n_attn_blocks|depth"
)
"""Lists of layer counts, one a stage."""

LAYER_INDICES = re.compile(
    r"\w*ind(ic|ex)es|\w*_idx|extract_layers|cross_attention_layers|\w*_hook_ids|global_attention_blocks|"
    r"spatial_target_layers|encode_proj_layers|summary_idxs"
)
"""Lists that point at layers."""

LAYER_PATTERNS = re.compile(r"(\w+_)?block_types")
"""Lists of kinds of layers, repeated until every layer has one."""

NARROW = 32
CHANNELS = re.compile(r"(?!in_|out_|num_)\w*channels?|\w*_out_channel|ext_pw_\w+")
"""Widths of networks of convolutions."""
DOUBLED = re.compile(r"(encoder_|decoder_)?hidden_size|num_filters|n_filters")
RATIOS = re.compile(r"(up|down)sampling_ratios")
"""Widths that a network doubles or halves at each of its ratios."""
BLOCKS = re.compile(r"num_blocks|num_res_blocks")

SCALE = 0.2
SCALES = frozenset({"width_coefficient", "depth_coefficient"})
"""What every width and every depth of a network is multiplied by."""

NOISE = re.compile(r"vae_std|noise_scale\w*")
"""How much noise a model adds where it infers: none, or the inputs of a batch would not equal each alone."""

TOKEN_IDS = re.compile(r"\w*_token_id|\w*_token_index|\w*_token_ids|\w*_id|\w*_index|\w*(?<!per)_token")
NO_TOKEN_IDS = re.compile(r"\w*ignore_index|insert_layer_id|\w*layer_ind\w*|\w*_block_ind\w*|\w*summary_idxs")
