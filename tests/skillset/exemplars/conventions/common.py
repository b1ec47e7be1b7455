"""The convention that most classes have."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}
        self.init_qualcomm = self.init_apple
        self.create_cpu_text_embedding_endpoint_handler = self.create_cpu_text_embedding_endpoint_handler
        self.init = self.init

    def init(self):
        if "torch" not in list(self.resources.keys()):
            import torch

            self.torch = torch
        else:
            self.torch = self.resources["torch"]
        if "transformers" not in list(self.resources.keys()):
            import transformers

            self.transformers = transformers
        else:
            self.transformers = self.resources["transformers"]

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        one, other = endpoint_handler("a cat"), endpoint_handler("a large house")
        assert one.shape == other.shape
        assert not self.torch.equal(one, other)
        return True

    def init_cpu(self, model, device, cpu_label):
        self.init()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        endpoint = self.transformers.AutoModel.from_pretrained(model)
        handler = self.create_cpu_text_embedding_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(64), 0

    def init_cuda(self, model, device, cuda_label):
        self.init()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        try:
            endpoint = self.transformers.AutoModel.from_pretrained(model, torch_dtype=self.torch.float16).to(device)
        except ValueError as error:
            print(error)
            endpoint = self.transformers.AutoModel.from_pretrained(model).to(device)
        handler = self.create_cuda_text_embedding_endpoint_handler(
            endpoint_model=model, device=device, hardware_label=cuda_label, endpoint=endpoint, tokenizer=tokenizer
        )
        self.torch.cuda.empty_cache()
        return endpoint, tokenizer, handler, asyncio.Queue(64), 0

    def init_openvino(
        self,
        model,
        model_type,
        device,
        openvino_label,
        get_optimum_openvino_model,
        get_openvino_model,
        get_openvino_pipeline_type,
        openvino_cli_convert,
    ):
        self.init()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        task = get_openvino_pipeline_type(model, model_type)
        endpoint = get_openvino_model(model, task, openvino_label)
        handler = self.create_openvino_text_embedding_endpoint_handler(model, tokenizer, openvino_label, endpoint)
        return endpoint, tokenizer, handler, asyncio.Queue(64), 0

    def init_apple(self, model, device, apple_label):
        raise RuntimeError("no Apple hardware here")

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(x, endpoint=endpoint, tokenizer=tokenizer):
            with self.torch.no_grad():
                tokens = tokenizer(x, return_tensors="pt", padding=True)
                return average(endpoint(**tokens).last_hidden_state, tokens["attention_mask"])

        return handler

    def create_cuda_text_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        def handler(x):
            try:
                with self.torch.no_grad():
                    tokens = tokenizer(x, return_tensors="pt", padding=True).to(device)
                    result = average(endpoint(**tokens).last_hidden_state, tokens["attention_mask"])
                del tokens
                return result
            except Exception:
                if "tokens" in locals():
                    del tokens
                self.torch.cuda.empty_cache()
                raise

        return handler

    def create_openvino_text_embedding_endpoint_handler(self, endpoint_model, tokenizer, openvino_label, endpoint=None):
        def handler(x):
            tokens = tokenizer(x, return_tensors="np", padding=True)
            return average(endpoint(dict(tokens))["last_hidden_state"], tokens["attention_mask"])

        return handler


def average(hidden, mask):
    """Mean over the tokens."""
    return (hidden * mask[..., None]).sum(1) / mask.sum(1)[..., None]
