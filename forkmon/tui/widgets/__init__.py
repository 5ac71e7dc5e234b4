"""Views: they receive frozen values and draw."""
