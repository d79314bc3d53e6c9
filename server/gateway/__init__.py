"""The data plane: HTTP/1.1 from clients to ready replicas. Started beside the server; see `__main__`."""
