"""Converges what is to what is asked for; every rule is in design notes of ARCHITECTURE.md."""
