"""Image names that are refused when they are asked for, since no pull could ever end well."""

from ...runtime.images import FORM, flaw_of
from ..errors import Invalid


def check_image(field: str, image: str) -> None:
    """
    A name that there may be is taken: whether there is such an image, only its registry knows.

    Raises:
        Invalid: no registry can have an image of that name.
    """
    if flaw := flaw_of(image):
        raise Invalid(field, f"{image!r} is no image name: {flaw}; the form is {FORM}")
