"""What a task asks of a model: natural inputs, the tensors made of them, and the answer read from the outputs.

Nothing here knows on which hardware the outputs were computed.
"""
