"""A base that holds what all classes share; helpers optional; calls of many forms, all of them right."""

import functools
import queue
from dataclasses import dataclass

try:
    import a_library_that_is_not_there as fast
except ImportError:
    fast = None


@dataclass
class Options:
    width: int = 32
    name: str = ""


class hf_base:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init_cpu(self, model, device="cpu", cpu_label="cpu:0"):
        return self._open(model, device, label=cpu_label)

    def init_openvino(
        self,
        model,
        model_type,
        device,
        openvino_label,
        get_optimum_openvino_model=None,
        get_openvino_model=None,
        get_openvino_pipeline_type=None,
        openvino_cli_convert=None,
    ):
        return self._open(model, device, openvino_label)

    def _open(self, model, device, label):
        endpoint, tokenizer = self.load(model)
        endpoint_handler = self.create_cpu_llm_endpoint_handler(tokenizer, model, label, endpoint)
        return endpoint, tokenizer, endpoint_handler, queue.Queue(), 0

    def load(self, model):
        raise NotImplementedError

    def create_cpu_llm_endpoint_handler(self, tokenizer, endpoint_model, cpu_label, endpoint=None, *, options=None):
        options = options or Options(width=16, name=endpoint_model)

        def handler(prompt, *images, **more):
            return complete(endpoint, tokenizer, prompt, *images, width=options.width, **more)

        return handler


class hf_llama(hf_base):
    def load(self, model):
        import transformers

        return (
            transformers.AutoModelForCausalLM.from_pretrained(model),
            transformers.AutoTokenizer.from_pretrained(model),
        )

    def create_openvino_llm_endpoint_handler(self, *args, **kwargs):
        return super().create_cpu_llm_endpoint_handler(*args, **kwargs)

    @staticmethod
    def distance(left, right):
        """Symmetric: it may be asked either way."""
        return abs(left - right)

    @functools.lru_cache
    def gcd(self, a, b):
        return a if b == 0 else self.gcd(b, a % b)

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        self._check(endpoint_handler("once upon a time"))

    def _check(self, text):
        left, right = len(text), 0
        if self.distance(left, right) != self.distance(right=right, left=left):
            raise AssertionError("it is not symmetric")
        if not text:
            raise AssertionError("nothing was generated")


def complete(endpoint, tokenizer, prompt, *images, width, **more):
    handler = functools.partial(endpoint.generate, max_new_tokens=width)
    run = handler if fast is None else fast.compile(handler)
    return tokenizer.decode(run(**tokenizer(prompt, return_tensors="pt"), **more)[0])
