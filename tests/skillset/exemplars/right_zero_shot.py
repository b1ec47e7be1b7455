"""Right: how well each text fits a picture, by CLIP."""

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
        endpoint = self.transformers.CLIPModel.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_zero_shot_image_classification_endpoint_handler(
            model, device, cpu_label, endpoint, processor
        )
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_zero_shot_image_classification_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, processor
    ):
        def handler(text, image):
            inputs = processor(text=text, images=image, return_tensors="pt", padding=True)
            with self.torch.no_grad():
                scores = endpoint(**inputs).logits_per_image.softmax(-1)
            return {"scores": scores, "labels": text}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler(["a cat", "a dog"], Image.new("RGB", (32, 32), "red"))
        assert answer["scores"].shape[-1] == 2
