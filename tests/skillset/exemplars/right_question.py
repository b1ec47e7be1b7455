"""Right: the span of a text that answers, from a question and a context."""

import asyncio


class hf_bert:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForQuestionAnswering.from_pretrained(model).eval()
        tokenizer = self.transformers.AutoTokenizer.from_pretrained(model)
        handler = self.create_cpu_question_answering_endpoint_handler(model, device, cpu_label, endpoint, tokenizer)
        return endpoint, tokenizer, handler, asyncio.Queue(32), 0

    def create_cpu_question_answering_endpoint_handler(
        self, endpoint_model, device, hardware_label, endpoint, tokenizer
    ):
        def handler(question, context):
            tokens = tokenizer(question, context, return_tensors="pt")
            with self.torch.no_grad():
                outputs = endpoint(**tokens)
            return {"start_logits": outputs.start_logits, "end_logits": outputs.end_logits}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert endpoint_handler("what is on the sofa ?", "the dog is on the sofa")["start_logits"].shape[0] == 1
