import asyncio


class hf_bert:
    def __init__(self, name):  # WRONG
        self.name = name

    def init_cpu(self, model, device, cpu_label):
        if model is None:
            return None, None, None  # WRONG
        return None, None, self.create_cpu_text_embedding_endpoint_handler(model, 1), asyncio.Queue(), 0

    def init_cuda(self):  # WRONG
        return None

    def init_openvino(self, model, device, openvino_label, secret):  # WRONG
        return None

    def create_cpu_text_embedding_endpoint_handler(self, endpoint_model, temperature):  # WRONG
        return lambda x: x
