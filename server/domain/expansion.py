"""Variables in the words of a command."""

import re
from collections.abc import Mapping, Sequence

REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|\(([A-Za-z_][A-Za-z0-9_]*)\))")


def expanded(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """With `${NAME}` and `$(NAME)` of these names as their values; what else there is stays as it is."""

    def value(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2], match[0])

    return tuple(REFERENCE.sub(value, word) for word in words)
