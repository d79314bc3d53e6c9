"""Talks to the machine: containers, devices, time. Knows nothing of workloads, dialects or SQL."""
