"""The nouns. Frozen values that every layer may hold; no I/O, no behaviour beyond their own shape."""
