"""SMTP in: the listeners, their sessions and the reading of what arrives. No table of its own."""
