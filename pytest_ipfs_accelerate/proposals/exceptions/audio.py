"""Exceptions to the rules: audio models."""

from __future__ import annotations

from typing import Any

DAC = {"encoder_hidden_size": 8, "decoder_hidden_size": 64, "hidden_size": 64}

TWELVE_FRAMES = {
    "config": {"quantization_dim": 128},
    "inputs": {"tensors": {"input_features": {"normal": [12, 160]}, "input_features_mask": {"ones": [12]}}},
}
CODES = {
    "tensors only": "its tokens are the codes of four codebooks",
    "inputs": {
        "whole": True,
        "tensors": {"input_ids": {"codes": [4, 5], "below": 60, "join": "concat"}},
        "generation": {"pad_token_id": 60, "decoder_start_token_id": 60, "num_return_sequences": 1},
    },
}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    # It reads speech or text, never both.
    "seamless_m4t*:feature-extraction": {"inputs": {"tensors": {"input_ids": None, "attention_mask": None}}},
    "xcodec2": TWELVE_FRAMES,
    "neucodec": TWELVE_FRAMES,
    "clvp": {
        "padding_shifts": "it sums a text up by the mean over all positions, padded ones too",
        "config": {
            "speech_config": {"vocab_size": 512, "num_attention_heads": 2},
            "text_config": {"num_attention_heads": 2},
        },
    },
    # To each position of the text belongs a piece of the sound: as many as the text that is there and that is generated.
    "voxtral_realtime": {
        "inputs": {"tensors": {"input_features": {"normal": [128, 128]}}, "sizes": {"S": [11, 11]}, "pads": None}
    },
    "VoxtralRealtimeModel": {"inputs": {"tensors": {"input_features": {"normal": [128, 88]}}}},
    "voxtral_realtime:pretraining": {"inputs": {"tensors": {"input_features": {"normal": [128, 88]}}}},
    "voxtral_realtime_text": {"inputs": {"tensors": {"t_cond": {"normal": [1, 64]}}}},
    "fun_asr_nano_encoder": {"inputs": {"tensors": {"input_features": {"normal": [64, 560]}}}},
    # The mask of its spectrogram is true where it is padding.
    "gemma3n_audio": {"inputs": {"tensors": {"audio_mel_mask": {"zeros": [64], "dtype": "bool"}}}},
    "moonshine_streaming": {"config": {"num_key_value_heads": 4}},
    "clap": {
        "config": {
            "audio_config": {
                "patch_embeds_hidden_size": 16,
                "hidden_size": 128,
                "num_attention_heads": [2, 2, 2, 2],
                "image_size": 64,
                "spec_size": 64,
                "num_mel_bins": 16,
                "window_size": 4,
            }
        }
    },
    "dac": {"config": DAC},
    "dia": {"inputs": {"tensors": {"decoder_input_ids": {"codes": [5, 9], "below": 50}}}},
    "gradium_phonon_tts": {"config": {"flow_head_config": {"condition_dim": 64}}},
    "granite_speech5_*": {"inputs": {"tensors": {"input_features": {"normal": [64, 320]}}}},
    "mimi": {
        "config": {"vector_quantization_hidden_dimension": 64, "codebook_dim": 64, "upsample_groups": 64},
    },
    "mimi_decoder": {"inputs": {"tensors": {"latents": {"normal": [64, 6]}}}},
    # Text in; a sound to go on from is left out, as is its share of the decoder's tokens.
    "musicgen*:text-to-audio": {
        "inputs": {
            "tensors": {"decoder_input_ids": {"codes": [4, 5], "below": 60, "join": "concat"}, "input_values": None},
            "generation": {"pad_token_id": 60},
        }
    },
    "musicgen_melody:text-to-audio": {"inputs": {"tensors": {"input_features": {"normal": [16, 12]}}}},
    "musicgen*:text-generation": CODES,
    "musicgen*:feature-extraction": CODES,
    "musicflamingo": {
        "inputs": {
            "tensors": {"input_ids": {"tokens": ["S"], "from": 6, "below": 200, "place": [[482, 16]]}},
            "sizes": {"S": [27, 24]},
        }
    },
    "pe_audio": {"config": {"audio_config": {"dac_config": DAC}}},
    "pe_audio_encoder": {"config": {"dac_config": DAC}},
    "pocket_tts": {"config": {"flow_head_config": {"condition_dim": 64}}},
    "pocket_tts_audio_tokenizer_decoder": {"inputs": {"tensors": {"latents": {"normal": [64, 6]}}}},
    "SpeechT5ForTextToSpeech": {
        "tensors only": "its forward is fed the spectrogram so far",
        "inputs": {"tensors": {"decoder_input_values": {"normal": [6, 80]}, "speaker_embeddings": {"normal": [512]}}},
    },
    "csm": {
        "config": {"audio_token_id": 470, "codec_config": {"codebook_dim": 64, "codebook_size": 64}},
        "inputs": {
            "tensors": {
                "input_ids": {"tokens": ["S"], "below": 200, "place": [[470, 2], [479, 1]]},
                "input_values": {"normal": [1, 3840]},
                "input_values_cutoffs": {"value": [3840]},
            },
            "sizes": {"S": [14, 11]},
        },
    },
    "pop2piano:automatic-speech-recognition": {
        "config": {"composer_vocab_size": 1},
        "inputs": {
            "tensors": {"input_ids": None, "attention_mask": {"ones": [80]}},
            "generation": {"composer_to_feature_token": {"composer1": 3}},
        },
    },
    "SpeechT5Model": {
        "inputs": {
            "whole": True,
            "tensors": {"input_values": {"normal": [10, 64]}, "decoder_input_values": {"normal": [5, 64]}},
        }
    },
    "speech-encoder-decoder": {
        "inputs": {
            "whole": True,
            "tensors": {"input_values": {"normal": [3200]}, "decoder_input_ids": {"tokens": [5], "below": 200}},
        }
    },
    "vibevoice_acoustic_tokenizer_encoder": {
        "config": {"num_filters": 2},
        "inputs": {"whole": True, "tensors": {"hidden_states": {"normal": [1, 3840]}}},
    },
    "vibevoice_acoustic_tokenizer_decoder": {
        "config": {"num_filters": 2},
        "inputs": {"whole": True, "tensors": {"hidden_states": {"normal": [64, 6]}}},
    },
    "fastspeech2_conformer*": {
        "padding_shifts": "the convolutions that tell how long each sound lasts read across the end of the text",
        "single": "its spectrogram is as long as those sounds, which no two texts share",
    },
    "lasr_ctc:automatic-speech-recognition": {"tensors only": "its feature extractor comes without a tokenizer"},
    "parakeet_ctc:automatic-speech-recognition": {"tensors only": "its feature extractor comes without a tokenizer"},
    "granite_speech5_ctc:automatic-speech-recognition": {
        "tensors only": "its feature extractor comes without a tokenizer"
    },
    "wav2vec2-bert:automatic-speech-recognition": {"config": {"vocab_size": 32}},
    "wav2vec2-conformer:automatic-speech-recognition": {"config": {"vocab_size": 32}},
    "univnet": {
        # One block: what the next ones make of its rounding is as large as a fault.
        "config": {
            "model_hidden_channels": 8,
            "resblock_kernel_sizes": [3],
            "resblock_stride_sizes": [8],
            "resblock_dilation_sizes": [[1, 3]],
        },
        "inputs": {"tensors": {"input_features": {"normal": [64, 100]}, "noise_sequence": {"normal": [64, 64]}}},
    },
    "encodec": {"config": {"num_filters": 4, "codebook_size": 16}},
    "vits": {
        # As of univnet: with four flows and three blocks, padding moved the sound by 1.03e-5 in fp32,
        # which lies up to 1.5e-5 from fp64 there.
        "config": {
            "noise_scale": 0.0,
            "noise_scale_duration": 0.0,
            "prior_encoder_num_flows": 2,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3]],
        },
        "inputs": {"tensors": {"input_ids": {"tokens": ["S"], "below": 38}}, "sizes": {"S": [11, 11]}},
        "tensors only": "the length of the sound depends on the text: two texts make no batch",
    },
}
