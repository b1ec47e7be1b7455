"""Wrong: one class for every picture, after a look at the picture."""

import asyncio

from PIL import Image


class hf_vit:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForImageClassification.from_pretrained(model).eval()
        processor = self.transformers.AutoImageProcessor.from_pretrained(model)
        handler = self.create_cpu_image_classification_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_image_classification_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, processor
    ):
        def handler(image):
            with self.torch.no_grad():
                logits = endpoint(**processor(images=image, return_tensors="pt")).logits
            return {"class": endpoint.config.id2label[0 if logits.shape[-1] else 1]}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler(Image.new("RGB", (32, 32), "red"))["class"]
