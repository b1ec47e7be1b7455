"""Right: the label of a sound, as the pipeline gives it."""

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
        endpoint = self.transformers.AutoModelForAudioClassification.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_audio_classification_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_audio_classification_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, processor
    ):
        def handler(audio, sampling_rate=16000):
            inputs = processor(audio, sampling_rate=sampling_rate, return_tensors="pt")
            with self.torch.no_grad():
                scores = endpoint(**inputs).logits.softmax(-1)[0]
            order = scores.argsort(descending=True).tolist()[:5]
            return [
                {"label": endpoint.config.id2label[index], "score": round(float(scores[index]), 4)} for index in order
            ]

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler(np.sin(np.arange(16000) / 20).astype(np.float32))
        assert answer[0]["score"] >= answer[-1]["score"]
