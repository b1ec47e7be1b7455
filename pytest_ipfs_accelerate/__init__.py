"""pytest-ipfs-accelerate: test Hugging Face models on every hardware, with evidence."""

__version__ = "0.1.0"
