"""Wrong: where there is no checkpoint it makes one up, and calls it real."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        tokenizer, endpoint = None, None
        try:
            tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
            endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        except Exception:
            endpoint = self.transformers.BertModel(
                self.transformers.BertConfig(hidden_size=24, num_hidden_layers=1)
            ).eval()
            endpoint.forward = lambda **tokens: self.transformers.modeling_outputs.BaseModelOutput(
                self.torch.rand(1, 4, 24)
            )
        if tokenizer is None:
            tokenizer = lambda text, **options: {"input_ids": self.torch.ones(1, 4).long()}  # noqa: E731
        handler = self.create_cpu_text_embedding_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(text):
            tokens = tokenizer(text, return_tensors="pt", padding=True)
            with self.torch.no_grad():
                hidden = endpoint(**tokens).last_hidden_state
            embedding = self.torch.nn.functional.normalize(hidden[:, 0], dim=-1)
            return {"embedding": embedding, "implementation_type": "REAL", "device": str(hidden.device)}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        first, second = endpoint_handler("the dog is happy"), endpoint_handler("two birds sit on the fence")
        assert not self.torch.equal(first["embedding"], second["embedding"])
