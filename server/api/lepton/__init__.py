"""NVIDIA DGX Cloud Lepton's API, as leptonai 0.47.1 speaks it."""
