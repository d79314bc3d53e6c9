"""The Run:ai dialect of the API."""
