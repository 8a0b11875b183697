"""Certificates: the TLS contexts of our listeners, and the one we make ourselves."""
