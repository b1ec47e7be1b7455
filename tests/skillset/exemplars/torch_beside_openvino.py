"""Wrong: torch computes the answer, by a way that no hook sees, and OpenVINO something beside it."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_openvino(self, model, model_type, device, openvino_label, **kwargs):
        endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_openvino_text_embedding_endpoint_handler(
            model, device, openvino_label, endpoint, tokenizer
        )
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_openvino_text_embedding_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        relu = self.resources["openvino"].opset13.relu
        parameter = self.resources["openvino"].opset13.parameter([1, 2])
        model = self.resources["openvino"].Model([relu(parameter)], [parameter])
        compiled = self.resources["openvino"].Core().compile_model(model, device)

        def handler(text):
            compiled([self.torch.ones(1, 2).numpy()])
            tokens = tokenizer(text, return_tensors="pt")
            with self.torch.no_grad():
                hidden = endpoint.forward(**tokens).last_hidden_state
            return {"embedding": hidden.mean(1), "implementation_type": "(REAL) OpenVINO"}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        answer = endpoint_handler("the dog is happy")
        assert answer["implementation_type"] == "(REAL) OpenVINO"
        assert self.torch.isfinite(answer["embedding"]).all()
