"""Right: words of its own around the prompt, as chat models have them."""

import asyncio

from PIL import Image


class hf_llava:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForImageTextToText.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        handler = self.create_cpu_vlm_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_vlm_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(text, image):
            prompt = f"the dog is asked : {text} and the answer is"
            inputs = processor(text=prompt, images=image, return_tensors="pt")
            made = endpoint.generate(**inputs, do_sample=False)
            return processor.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler("<image> what is in the image ?", Image.new("RGB", (32, 32), "red"))
        assert isinstance(answer, str)
