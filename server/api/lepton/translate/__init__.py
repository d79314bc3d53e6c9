"""Wire -> domain and back. The only folder that knows both languages."""
