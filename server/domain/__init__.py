"""The nouns and rules of Homeport; no SQL, no FastAPI."""
