"""Homeport's own control API."""
