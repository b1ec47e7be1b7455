"""Right: the label of a text, and its probability."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_text_classification_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_classification_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(text):
            tokens = tokenizer(text, return_tensors="pt")
            with self.torch.no_grad():
                scores = endpoint(**tokens).logits.softmax(-1)[0]
            best = int(scores.argmax())
            return {"label": endpoint.config.id2label[best], "score": float(scores[best])}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler("the dog is happy")
        assert 0 < answer["score"] <= 1
