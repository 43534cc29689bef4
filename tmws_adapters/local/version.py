"""The version of this distribution."""

VERSION = "3.0.0a1"
"""Written here alone: the package's metadata has it from here, and takes 45 ms to be asked."""
