"""Bytes -> tensors: CheckpointRef -> TensorRef -> chunks."""
