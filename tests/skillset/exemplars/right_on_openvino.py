"""Right: the text embedding of BERT, computed by OpenVINO."""

import asyncio


def Hidden(torch, model):
    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=False)[0]

    return Hidden().eval()


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]
        self.openvino = self.resources["openvino"]

    def init_openvino(self, model, model_type, device, openvino_label, **kwargs):
        core = self.openvino.Core()
        plain = self.transformers.AutoModel.from_pretrained(model, attn_implementation="eager").eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        example = dict(tokenizer("an example", return_tensors="pt"))
        example = {name: example[name] for name in ("input_ids", "attention_mask")}
        converted = self.openvino.convert_model(Hidden(self.torch, plain), example_input=example)
        endpoint = core.compile_model(converted, device)
        handler = self.create_openvino_text_embedding_endpoint_handler(
            model, device, openvino_label, endpoint, tokenizer
        )
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_openvino_text_embedding_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(text):
            tokens = tokenizer(text, return_tensors="np", padding=True)
            found = endpoint({name: tokens[name] for name in ("input_ids", "attention_mask")})
            mask = tokens["attention_mask"][..., None]
            return (found[0] * mask).sum(1) / mask.sum(1)

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        first, second = endpoint_handler("the dog is happy"), endpoint_handler("two birds sit on the fence")
        assert (first != second).any()
