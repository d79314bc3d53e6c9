"""What the parts of submissions have in common. Source of the spelling: the models of runapy 1.224.0."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

INT32 = 2**31 - 1  # what Kubernetes has for these


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow", alias_generator=to_camel, validate_by_name=True)


class Item(Wire):
    """`exclude`: it is as if it was not there."""

    exclude: bool = False
