"""Wrong: it asks its model something else."""

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
            tokens = tokenizer(prompt[: len(prompt) // 2], return_tensors="pt")
            made = endpoint.generate(**tokens, do_sample=False)
            return tokenizer.decode(made[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("the dog is") != endpoint_handler("two birds sit on the fence")
