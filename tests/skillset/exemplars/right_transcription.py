"""Right: what was said, by Whisper, from a waveform or the path of a file."""

import asyncio
import wave

import numpy as np


class hf_whisper:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForSpeechSeq2Seq.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_transcription_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_transcription_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(audio):
            if isinstance(audio, str):
                with wave.open(audio) as file:
                    frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
                audio = frames.astype(np.float32) / 32768
            features = processor(audio, sampling_rate=16000, return_tensors="pt")
            made = endpoint.generate(features["input_features"])
            return {"text": processor.batch_decode(made, skip_special_tokens=True)[0]}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler(np.sin(np.arange(16000) / 20).astype(np.float32))
        assert isinstance(answer["text"], str)
