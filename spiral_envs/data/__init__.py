"""Lists that games draw from, as plain text; the one game that uses a list reads it when first needed."""
