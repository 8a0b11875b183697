"""Sending domains: which are ours, what happens to their mail, which keys sign it."""
