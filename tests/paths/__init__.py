"""Whole-service tests: Sendry as a process of its own on loopback, real clients before it, receivers behind it."""
