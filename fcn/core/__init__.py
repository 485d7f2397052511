"""What every part of the toolkit may use, and which uses none of them: errors, names, settings, and the registry of parts."""
