"""Tiny checkpoints: the real transformers class from a pinned config, seeded weights, and a real processor, all offline."""
