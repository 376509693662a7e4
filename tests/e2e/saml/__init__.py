"""Logging in by SAML: two real providers, Chromium, and the gate with its desk in front of them."""
