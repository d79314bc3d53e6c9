"""A user's application as an endpoint runs it, with a little of OpenAI's API. Argument: its port."""

import json
import sys
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()


class Numbers(BaseModel):
    a: int
    b: int


class Chat(BaseModel):
    model: str
    messages: list[dict[str, str]]
    stream: bool = False


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/add")
def add(numbers: Numbers) -> int:
    return numbers.a + numbers.b


@app.get("/hello")
def hello(name: str) -> dict[str, str]:
    return {"hello": name}


@app.get("/count")
def count(to: int) -> StreamingResponse:
    return StreamingResponse((b"%d\n" % n for n in range(to)), media_type="text/plain")


@app.get("/seen")
def seen(request: Request) -> dict[str, str]:
    """The head of this very request."""
    return dict(request.headers)


@app.post("/v1/chat/completions", response_model=None)
def chat(chat: Chat) -> StreamingResponse | dict[str, object]:
    words = chat.messages[-1]["content"].split()
    if not chat.stream:
        message = {"role": "assistant", "content": " ".join(reversed(words))}
        return completion("chat.completion", chat.model, message=message, finish_reason="stop")

    def events() -> Iterator[str]:
        for word in reversed(words):
            part = completion(
                "chat.completion.chunk", chat.model, delta={"content": word}, finish_reason=None
            )
            yield f"data: {json.dumps(part)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def completion(kind: str, model: str, **choice: object) -> dict[str, object]:
    return {"id": "c1", "object": kind, "created": 1, "model": model, "choices": [{"index": 0, **choice}]}


if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=int(sys.argv[1]))
