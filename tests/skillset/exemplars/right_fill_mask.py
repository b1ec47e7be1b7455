"""Right: the five likeliest words for the mask."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForMaskedLM.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_fill_mask_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_fill_mask_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(text):
            tokens = tokenizer(text, return_tensors="pt")
            with self.torch.no_grad():
                logits = endpoint(**tokens).logits[0]
            scores = logits[tokens["input_ids"][0] == tokenizer.mask_token_id][0].softmax(-1)
            best = scores.topk(5)
            return [
                {"token_str": tokenizer.decode([token]), "score": score}
                for token, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert len(endpoint_handler("the dog is [MASK]")) == 5
