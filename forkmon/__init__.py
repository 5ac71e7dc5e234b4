"""forkmon: watch a checkpoint directory, keep every layer's distribution, alert when it forks."""

__version__ = "0.1.0"
