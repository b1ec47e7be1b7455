"""Right: the text embedding of BERT, computed by ONNX Runtime."""

import asyncio

import onnxruntime


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_onnxruntime(self, model, device, onnxruntime_label):
        plain = self.transformers.AutoModel.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        inputs = tuple(tokenizer("an example of a text", return_tensors="pt").values())
        names = tuple(tokenizer.model_input_names)
        program = self.torch.onnx.export(
            plain,
            (),
            kwargs=dict(zip(names, inputs, strict=True)),
            input_names=names,
            dynamo=True,
            verbose=False,
            dynamic_shapes={name: {1: self.torch.export.Dim.DYNAMIC} for name in names},
        )
        endpoint = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        handler = self.create_onnxruntime_text_embedding_endpoint_handler(
            model, device, onnxruntime_label, endpoint, tokenizer
        )
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_onnxruntime_text_embedding_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(text):
            tokens = tokenizer(text, return_tensors="np")
            return endpoint.run(None, dict(tokens))[0].mean(1)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        first, second = endpoint_handler("the dog is happy"), endpoint_handler("two birds sit on the fence")
        assert (first != second).any()
