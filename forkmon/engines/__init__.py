"""Who runs the kernels."""
