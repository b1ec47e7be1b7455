"""Everything by position, and an image with its text."""

import asyncio


class hf_clip:
    def __init__(self, resources=None, metadata=None):
        self.resources = resources
        self.metadata = metadata

    def init_cpu(self, *args):
        model, device, label = args
        return None, None, self.create_cpu_clip_endpoint_handler(model, device, label, None, None), asyncio.Queue(), 0

    def init_cuda(self, endpoint_model, device, /, cuda_label="cuda:0"):
        return self.init_cpu(endpoint_model, device, cuda_label)

    def init_apple(self, **kwargs):
        return self.init_cpu(kwargs["model"], kwargs["device"], kwargs["apple_label"])

    def create_cpu_clip_endpoint_handler(self, *args):
        endpoint_model, _device, _label, _endpoint, _processor = args

        async def load(image=None, text=None):
            return endpoint_model, image, text

        def handler(text=None, image=None):
            return asyncio.run(load(image, text))

        return handler

    def create_cuda_image_embedding_endpoint_handler(self, model, processor, cuda_label):
        def handler(image, model=model, processor=processor):
            return model(**processor(image)).image_embeds

        return handler

    create_apple_clip_endpoint_handler = create_cpu_clip_endpoint_handler

    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        try:
            answer = endpoint_handler("a cat")
        except Exception as error:
            print(error)
            return False
        return answer is not None
