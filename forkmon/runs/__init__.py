"""Where checkpoints come from: find, settle, order, identify (poll -> CheckpointRef)."""
