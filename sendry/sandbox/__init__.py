"""Captured mail: the inbox of a sandbox. Reads the tables itself; every change goes through the queue's door."""
