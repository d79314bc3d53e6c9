"""What could never work is refused when it is asked for, with the remedy."""

import pytest

from tests.sdk import Sdk, SdkError
from tests.world import World, eventually


def test_impossible_image_name_is_refused_by_every_command(shared_home: World) -> None:
    home = shared_home
    home.login()
    shape = ("--resource-shape", "cpu.small", "--container-image")
    told = [
        home.lep("job", "create", "-n", "odd", "--command", "true", *shape, "UPPER CASE", ok=False),
        home.lep("endpoint", "create", "-n", "odd", "--container-port", "8080", *shape, "a::b", ok=False),
        home.lep("pod", "create", "-n", "odd", *shape, "ghcr.io/Team/tool", ok=False),
    ]
    for text in told:
        assert "is no image name" in text, text
    assert "odd" not in home.lep("job", "list")


def test_impossible_image_name_is_refused_by_every_client(shared_home: World, any_sdk: Sdk) -> None:
    container = {"image": "a::b", "command": ["true"]}
    with pytest.raises(SdkError, match=r"ClientError.*400.*spec\.container\.image: 'a::b' is no image name"):
        any_sdk.create(shared_home, "odd", "", container=container)


@pytest.mark.docker
def test_image_that_only_is_not_there_is_tried_again(docker_home: World, sdk: Sdk) -> None:
    container = {"image": "127.0.0.1:1/there/is:none", "command": ["true"]}
    job = sdk.create(docker_home, "absent", "", container=container)
    events = "result = [[e.reason, str(e.regarding)] for e in client.job.get_events(job)]"

    def told() -> list[str]:
        return [
            text for reason, text in sdk.run(docker_home, events, job=job) if reason == "ImagePullBackOff"
        ]

    (text,) = eventually("a try", told)
    assert "next try in 10 s" in text
    assert sdk.state(docker_home, job) == "Starting"


def test_token_that_no_header_can_carry_is_refused(shared_home: World) -> None:
    home = shared_home
    home.login()
    told = home.lep(
        "endpoint", "create", "-n", "odd", "--resource-shape", "cpu.small", "--container-image", "any:1",
        "--container-port", "8080", "--tokens", "tökén", ok=False,
    )  # fmt: skip
    assert "openssl rand -hex 16" in told, told
    assert "tökén" not in told
