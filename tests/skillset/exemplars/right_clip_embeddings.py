"""Right: the embeddings of a text and a picture, in a handler that binds what it needs as defaults."""

import asyncio

from PIL import Image


class hf_clip:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_text_embedding_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(
            x, y=None, endpoint=endpoint, processor=processor, endpoint_model=endpoint_model, label=hardware_label
        ):
            inputs = processor(text=x, images=y, return_tensors="pt", padding=True)
            with self.torch.no_grad():
                outputs = endpoint(**inputs)
            return {
                "text_embedding": outputs.text_embeds,
                "image_embedding": outputs.image_embeds,
                "model": endpoint_model,
            }

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler("a cat", Image.new("RGB", (32, 32), "red"))
        assert answer["text_embedding"].shape == answer["image_embedding"].shape
