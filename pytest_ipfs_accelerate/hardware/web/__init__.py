"""ONNX Runtime Web in a headless browser: the page and who serves it, the browser and who ends it, and the hardware."""
