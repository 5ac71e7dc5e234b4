"""Long instruments, run on demand on one checkpoint: each takes weights to one typed result."""
