"""What a tensor is at a step: values with laws, no I/O."""
