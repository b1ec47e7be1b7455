"""Wrong: it writes into the config of the checkpoint that it is given."""

import asyncio
import os


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        with open(os.path.join(model, "config.json"), "a") as config:
            config.write("\n")
        endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_text_embedding_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(text):
            tokens = tokenizer(text, return_tensors="pt", padding=True)
            with self.torch.no_grad():
                hidden = endpoint(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            return (hidden * mask).sum(1) / mask.sum(1)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        first, second = endpoint_handler("the dog is happy"), endpoint_handler("two birds sit on the fence")
        assert first.shape == second.shape
        assert not self.torch.equal(first, second)
