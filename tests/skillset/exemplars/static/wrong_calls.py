import asyncio


def average(hidden, mask):
    return hidden * mask


class Pool:
    def __init__(self, width):
        self.width = width


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources
        self.create_cuda_text_embedding_endpoint_handler = self.create_cuda_text_embedding_endpoint_handler  # WRONG

    def init_cpu(self, model, device, cpu_label):
        self.prepare(model, device, cpu_label)  # WRONG
        pool = Pool(width=3, depth=4)  # WRONG
        handler = self.create_cpu_text_embeding_endpoint_handler(model, device)  # WRONG
        return pool, None, handler, asyncio.Queue(), 0

    def init_openvino(self, model, device, openvino_label):
        return None, None, self.create_cpu_text_embedding_endpoint_handler(model), asyncio.Queue(), 0  # WRONG

    def prepare(self, model):
        return average(model)  # WRONG

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, device):
        def encode(text, *, width):
            return text[:width]

        def handler(x):
            return encode(x, widht=3)  # WRONG

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("a cat") is not None
