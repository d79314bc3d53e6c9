"""Owns desired state and everything a client sees."""
