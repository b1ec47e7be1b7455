"""Right: the embedding of a picture, a list of numbers, from the path of a file alone."""

import asyncio
import os
import tempfile

from PIL import Image


class hf_vit:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        processor = self.transformers.AutoImageProcessor.from_pretrained(model)
        handler = self.create_cpu_image_embedding_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_image_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(image_path):
            image = Image.open(image_path).convert("RGB")
            with self.torch.no_grad():
                hidden = endpoint(**processor(images=image, return_tensors="pt")).last_hidden_state
            return hidden[:, 0].tolist()

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "red.png")
            Image.new("RGB", (32, 32), "red").save(path)
            assert len(endpoint_handler(path)[0]) > 1
