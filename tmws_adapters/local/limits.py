"""How long a line of the protocol may be."""

LINE_BYTES = 8 * 1024 * 1024
"""The longest line that is read: a batch of 1,000 memories of 8 KiB each; the HTTP body has the same limit."""

TOO_LONG = f"A line is longer than {LINE_BYTES} bytes: send fewer memories in one call"
