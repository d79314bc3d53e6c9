"""One folder per dialect; none imports another."""
