"""Right: what was said, read off the frames of wav2vec2; the sound behind a name that says nothing."""

import asyncio

import numpy as np


class hf_wav2vec2:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForCTC.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_transcription_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_transcription_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(x):
            inputs = processor(x, sampling_rate=16000, return_tensors="pt")
            with self.torch.no_grad():
                tokens = endpoint(**inputs).logits.argmax(-1)
            return processor.batch_decode(tokens)[0]

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert isinstance(endpoint_handler(np.sin(np.arange(16000) / 20).astype(np.float32)), str)
