"""Measures of Homeport beside the same thing done plainly, as ratios within one run. See README.md."""
