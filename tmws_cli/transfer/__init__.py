"""Memories in files: JSON lines and Markdown, in and out."""
