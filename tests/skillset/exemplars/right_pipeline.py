"""Right: a pipeline of transformers, which is the endpoint, too."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        endpoint = self.transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=device)
        handler = self.create_cpu_text_classification_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_classification_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(*inputs):
            return endpoint(*inputs)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert 0 < endpoint_handler("the dog is happy")[0]["score"] <= 1
