"""model_name in place of model, a device_label in place of device and label, the rest in **kwargs."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class hf_vit:
    def __init__(self, resources=None, metadata=None, **options):
        self.resources, self.metadata = resources or {}, metadata or {}
        self.options = options
        self.torch: Any = self.resources.get("torch")

    def init(self):
        for name in ("torch", "transformers"):
            setattr(self, name, self.resources.get(name) or __import__(name))

    def init_cpu(self, model_name, model_type, device_label="cpu", **kwargs):
        return self._init("cpu", model_name, device_label, **kwargs)

    def init_cuda(self, model_name, model_type=None, device_label="cuda:0", **kwargs):
        return self._init("cuda", model_name, device_label, **kwargs)

    def init_openvino(
        self, model_name=None, model_type=None, device=None, openvino_label=None, *, get_openvino_model=None
    ):
        return self._init("openvino", model_name, device or "CPU")

    def _init(self, hardware: str, model_name: str, where: str, **kwargs) -> tuple:
        self.init()
        processor = self.transformers.AutoImageProcessor.from_pretrained(model_name)
        endpoint = self.transformers.AutoModelForImageClassification.from_pretrained(model_name, **kwargs)
        factory = getattr(self, f"create_{hardware}_image_classification_endpoint_handler")
        return endpoint, processor, factory(endpoint, processor, model_name, where), queue.Queue(32), 1

    def create_cpu_image_classification_endpoint_handler(self, endpoint, processor, model_name, device_label):
        def handler(image) -> torch.Tensor:
            with self.torch.no_grad():
                return endpoint(**processor(image, return_tensors="pt").to(device_label)).logits

        return handler

    create_cuda_image_classification_endpoint_handler = create_cpu_image_classification_endpoint_handler
    create_openvino_image_classification_endpoint_handler = create_cpu_image_classification_endpoint_handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        from PIL import Image

        try:
            scores = endpoint_handler(Image.new("RGB", (32, 32)))
        except ValueError as error:
            raise RuntimeError("no scores") from error
        return {"finite": bool(self.torch.isfinite(scores).all())}
