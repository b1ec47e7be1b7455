import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources

    def init_cpu(self, model, device, cpu_label):
        endpoint, tokenizer = self.load(model)
        handler = self.create_cpu_embedding_endpoint_handler(endpoint, tokenizer, model, cpu_label, device)  # WRONG
        return endpoint, tokenizer, handler, asyncio.Queue(), 0

    def init_cuda(self, model, device, cuda_label):
        endpoint, tokenizer = self.load(model)
        handler = self.create_cuda_text_embedding_endpoint_handler(endpoint, cuda_label)  # WRONG
        return endpoint, tokenizer, handler, asyncio.Queue(), 0

    def init_openvino(self, model, device, openvino_label):
        endpoint, processor = self.load(model)
        handler = self.create_openvino_text_embedding_endpoint_handler(processor, endpoint)  # WRONG
        return endpoint, processor, handler, asyncio.Queue(), 0

    def load(self, model):
        return model, model

    def create_cpu_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, tokenizer):
        return lambda x: endpoint(tokenizer(x))

    def create_cuda_text_embedding_endpoint_handler(self, endpoint_model, cuda_label, endpoint=None, tokenizer=None):
        return lambda x: endpoint(tokenizer(x))

    def create_openvino_text_embedding_endpoint_handler(self, endpoint, tokenizer):
        return lambda x: endpoint(tokenizer(x))

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("a cat") is not None
