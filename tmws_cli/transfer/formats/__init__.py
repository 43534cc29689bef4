"""Files of other programs: one module a format, each from a parsed entry to memories."""
