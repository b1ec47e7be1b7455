"""Right: how a text and a film are alike, by X-CLIP."""

import asyncio

from PIL import Image


class hf_xclip:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources or {}
        self.metadata = metadata or {}

    def init(self):
        self.torch = self.resources["torch"]
        self.transformers = self.resources["transformers"]

    def init_cpu(self, model, device, cpu_label):
        endpoint = self.transformers.AutoModel.from_pretrained(model).eval()
        processor = self.transformers.AutoProcessor.from_pretrained(model)
        self.frames = endpoint.config.vision_config.num_frames
        handler = self.create_cpu_video_embedding_endpoint_handler(model, device, cpu_label, endpoint, processor)
        return endpoint, processor, handler, asyncio.Queue(32), 0

    def create_cpu_video_embedding_endpoint_handler(self, endpoint_model, device, hardware_label, endpoint, processor):
        def handler(frames, text):
            inputs = processor.tokenizer(text, return_tensors="pt")
            inputs |= processor.image_processor([frames], return_tensors="pt")
            with self.torch.no_grad():
                outputs = endpoint(**inputs)
            return {"video_embedding": outputs.video_embeds, "text_embedding": outputs.text_embeds}

        return handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        frames = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in range(0, 256, 16)]
        assert endpoint_handler(frames[: self.frames], "a red film")["video_embedding"].shape[0] == 1
