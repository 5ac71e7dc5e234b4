"""The only code that touches elements: chunk -> Summary."""
