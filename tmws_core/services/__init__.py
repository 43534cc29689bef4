"""The use cases; they do not call one another."""
