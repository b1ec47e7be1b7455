"""Right: a text made from each text of a list, by T5."""

import asyncio


class hf_t5:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForSeq2SeqLM.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_text2text_generation_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text2text_generation_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(texts):
            tokens = tokenizer(texts, return_tensors="pt", padding=True)
            made = endpoint.generate(**tokens, do_sample=False)
            return [{"generated_text": text} for text in tokenizer.batch_decode(made, skip_special_tokens=True)]

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert len(endpoint_handler(["the dog is happy", "two birds sit"])) == 2
