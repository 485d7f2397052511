"""The basis that every part of the toolkit may use: errors, names, settings, and the registry of parts. It imports no other part."""
