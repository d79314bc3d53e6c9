"""One request of the dialect, as its handler sees it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from ...errors import Invalid
from ...services.applications import Application
from . import errors, lists, quirks
from .context import RunaiContext
from .lists import Page, Read
from .operations import Operation
from .query import Query

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """
    Args:
        params: of the path, by the table's names. Underscores in them have become hyphens on the way
            (see `quirks`): compare names with `quirks.is_same_name`, or ask `names`.
        body: the JSON value without its nulls; `{}` where nothing was sent. sent: with them.
        form: the fields of a form, where that was sent instead.
        application: who asks; None only for operations that are registered as public.
        client: the address that it came from; "" where there is none. accept: the header of that name.
    """

    ctx: RunaiContext
    operation: Operation
    params: Mapping[str, str]
    query: Query
    body: Any
    application: Application | None = None
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    sent: Any = None
    client: str = ""
    accept: str = ""

    @property
    def who(self) -> Application:
        assert self.application is not None, f"{self.operation.path} is public"
        return self.application

    def read(self, model: type[Model]) -> Model:
        """
        The body as that model; what it does not know is the model's to keep or drop.

        Raises:
            Invalid: names the first field that is wrong.
        """
        if not isinstance(self.body, dict):
            raise Invalid("body", "must be a JSON object")
        try:
            return model.model_validate(self.body)
        except ValidationError as error:
            raise errors.invalid(error) from error

    def names(self, param: str, name: str) -> bool:
        """Whether that parameter of the path means this name."""
        return quirks.is_same_name(self.params[param], name)

    def select(
        self, items: Iterable[T], fields: Mapping[str, Read[T]], *, search: Sequence[str] = ()
    ) -> list[T]:
        """Those that `filterBy` and `search` of this request leave; for counts. See `lists.select`."""
        return lists.select(self.query, self.operation, items, fields, search=search)

    def page(
        self, items: Iterable[T], fields: Mapping[str, Read[T]], *, search: Sequence[str] = ()
    ) -> Page[T]:
        """The page of them that this request asks for. See `lists.page`."""
        return lists.page(self.query, self.operation, items, fields, search=search)

    def answer(self, body: Any = None) -> Response:
        """With the operation's own status of success; a body only where that status has one."""
        if self.operation.success == 204:
            return Response(status_code=204)
        return JSONResponse({} if body is None else body, self.operation.success)

    def accepted(self, message: str) -> Response:
        """`{"code", "message"}`, which is how what was accepted or deleted is confirmed."""
        return self.answer({"code": self.operation.success, "message": message})


Handler = Callable[[Call], Awaitable[Response]]
