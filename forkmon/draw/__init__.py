"""Numbers -> lines of text; no Textual, no I/O."""
