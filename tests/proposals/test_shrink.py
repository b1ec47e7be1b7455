"""What hangs together in a config is cut together."""

from __future__ import annotations

from pytest_ipfs_accelerate.proposals.shrink import Cut, shrink


def test_a_tight_cut_narrows_what_no_rule_knows() -> None:
    plain, tight = (shrink("xcodec", cut=cut)["acoustic_model_config"] for cut in (Cut(), Cut(tight=True)))
    assert "encoder_hidden_size" not in plain  # the default, which is doubled at each of four ratios
    assert tight["encoder_hidden_size"] == 8


def test_a_bare_cut_leaves_out_what_may_be_left_out() -> None:
    plain, bare = (shrink("nemotron_h_omni", cut=cut) for cut in (Cut(), Cut(bare=True)))
    assert plain["audio_config"]["model_type"] == "parakeet_encoder"
    assert "audio_config" not in bare


def test_a_hybrid_keeps_a_layer_of_each_kind() -> None:
    assert shrink("granitemoehybrid")["layer_types"] == ["linear_attention", "full_attention"]
    assert shrink("recurrent_gemma")["num_hidden_layers"] == 3  # two recurrent ones, then one of attention
    assert set(shrink("gemma3_text")["layer_types"]) == {"sliding_attention", "full_attention"}


def test_stages_of_a_tower_are_taken_from_layers_that_stay() -> None:
    tower = shrink("depth_anything")["backbone_config"]
    assert (tower["num_hidden_layers"], tower["out_indices"]) == (4, [1, 2, 3, 4])


def test_sizes_of_features_follow_those_of_the_picture() -> None:
    assert shrink("sam2")["vision_config"]["backbone_feature_sizes"] == [[16, 16], [8, 8], [4, 4]]


def test_a_network_that_is_scaled_is_scaled_down() -> None:
    options = shrink("efficientnet")
    assert (options["width_coefficient"], options["depth_coefficient"], options["hidden_dim"]) == (0.2, 0.2, 256)


def test_a_field_that_is_left_open_is_filled_where_the_model_needs_it() -> None:
    assert shrink("esm")["vocab_size"] == 512
    assert shrink("step3p5")["sliding_window"] == 16
    assert "sliding_window" not in shrink("llama")


def test_a_projector_that_takes_frames_side_by_side_finds_them() -> None:
    tower = shrink("voxtral")["audio_config"]
    assert tower["intermediate_size"] == 4 * tower["hidden_size"]
