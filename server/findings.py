"""What doctor has found, one thing at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`what`: a sentence about the machine. `remedy`: what to do where it is not as it should be."""

    is_ok: bool
    what: str
    remedy: str = ""
