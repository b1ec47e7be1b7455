"""Right: what is where in a picture, by DETR."""

import asyncio

from PIL import Image


class hf_detr:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModelForObjectDetection.from_pretrained(model).eval()
        processor = self.transformers.AutoImageProcessor.from_pretrained(model)
        handler = self.create_cpu_object_detection_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_object_detection_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(image):
            with self.torch.no_grad():
                outputs = endpoint(**processor(images=image, return_tensors="pt"))
            size = [(image.height, image.width)]
            found = processor.post_process_object_detection(outputs, threshold=0.2, target_sizes=size)[0]
            return {
                "detections": [
                    {"label": endpoint.config.id2label[int(label)], "score": float(score), "box": box.tolist()}
                    for label, score, box in zip(found["labels"], found["scores"], found["boxes"], strict=True)
                ]
            }

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        assert "detections" in endpoint_handler(Image.new("RGB", (32, 32), "red"))
