"""Wrong: a mock in the place of the model, and its answer made up."""

import asyncio
from unittest.mock import MagicMock


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        endpoint = MagicMock()
        endpoint.return_value.last_hidden_state = self.torch.ones(1, 4, 32)
        handler = self.create_cpu_text_embedding_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(text):
            return endpoint(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(1)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("the dog is happy").shape[0] == 1
