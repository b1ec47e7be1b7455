"""Wrong: it draws its tokens, so that nobody can say what it will answer."""

import asyncio


class hf_qwen2:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForCausalLM.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_text_generation_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_text_generation_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(prompt):
            tokens = tokenizer(prompt, return_tensors="pt")
            made = endpoint.generate(**tokens, do_sample=True, temperature=1.5, top_k=0)
            return {"text": tokenizer.decode(made[0], skip_special_tokens=True)}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler("the dog is")
        assert answer["text"].startswith("the dog is")
        assert answer["text"] != endpoint_handler("two birds sit")["text"]
