import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources

    def init_cpu(self, model, device, cpu_label):
        endpoint = transformers.AutoModel.from_pretrained(model)  # WRONG
        return endpoint, None, self.create_cpu_text_embedding_endpoint_handler(model, endpoint), asyncio.Queue(), 0

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, endpoint):
        def handler(x: "torch.Tensor") -> "torch.Tensor":
            return helper(endpoint, tokenizer(x))  # WRONG

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("a cat") is not None


def helper(endpoint, tokens):
    return endpoint(tokens).to(device)  # WRONG


def unused():
    return nothing_that_the_class_needs


class hf_vit:
    def init_cpu(self):
        return nothing_of_this_class
