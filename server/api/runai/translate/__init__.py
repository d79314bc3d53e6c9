"""Run:ai's words into ours and back."""
