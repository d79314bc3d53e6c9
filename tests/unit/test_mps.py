"""Shares of a GPU: whether MPS keeps them apart, and what their container is given."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from homeport.runtime.model import ContainerSpec
from homeport.runtime.mps import DAEMON, Mps, find_mps, limits
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.workload import Attempt
from homeport.server.reconcile.gpus import HandOver, hand_over, sharing_note

REAL = (NodeGpu("GPU-1", "NVIDIA H100", 81920, False), NodeGpu("GPU-2", "NVIDIA H100", 40960, False))
MADE_UP = NodeGpu("GPU-simulated-h100-00", "NVIDIA H100", 81920, True)
NODE = HostNode("n", "default", 8, 65536, (*REAL, MADE_UP))
ATTEMPT = Attempt("r-0", 1, "w", 0, "n", 1, 512, 1, gpu_uuids=("GPU-1", "GPU-2"), gpu_portion=0.25)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """As /proc of a machine on which one other program runs."""
    made = tmp_path / "proc"
    process(made, 1, "init", "/sbin/init")
    (made / "net").mkdir()
    (made / "net" / "unix").write_text("Num RefCount Protocol Flags Type St Inode Path\n")
    return made


def process(proc: Path, pid: int, comm: str, program: str, environ: str = "") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "cmdline").write_bytes(f"{program}\0-d\0".encode())
    (folder / "environ").write_bytes(environ.encode())


def pipes(at: Path) -> Path:
    at.mkdir()
    (at / "control").touch()
    return at


def test_daemon_is_found_at_the_directory_of_its_environment(proc: Path, tmp_path: Path) -> None:
    own = pipes(tmp_path / "own")
    environ = f"A=b\0CUDA_MPS_PIPE_DIRECTORY={own}\0C=d\0"
    process(proc, 77, DAEMON[:15], f"/usr/bin/{DAEMON}", environ)
    assert find_mps(proc, tmp_path / "none") == Mps(own)


def test_daemon_is_found_at_the_default_when_its_environment_names_none(proc: Path, tmp_path: Path) -> None:
    default = pipes(tmp_path / "default")
    process(proc, 77, DAEMON[:15], DAEMON)
    assert find_mps(proc, default) == Mps(default)


def test_no_daemon_is_found_when_only_its_files_or_its_server_are_there(proc: Path, tmp_path: Path) -> None:
    default = pipes(tmp_path / "default")
    process(proc, 78, DAEMON[:15], "/usr/bin/nvidia-cuda-mps-server")  # the kernel cuts both names alike
    assert find_mps(proc, default) is None


def test_no_daemon_is_found_when_it_has_no_control_yet(proc: Path, tmp_path: Path) -> None:
    process(proc, 77, DAEMON[:15], DAEMON)
    assert find_mps(proc, tmp_path / "none") is None


def test_daemon_is_found_by_its_socket_when_its_process_cannot_be_seen(tmp_path: Path) -> None:
    """On the real /proc, with a real socket: in it nothing else of the daemon's is to be seen."""
    default = tmp_path / "mps"
    default.mkdir()
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(default / "control"))
        control.listen()
        assert find_mps(default=default) == Mps(default)
    assert (default / "control").exists()
    assert find_mps(default=default) is None, "it has ended, and only its file is left"


def test_limits_are_those_of_the_share() -> None:
    told = dict(limits(Mps(Path("/run/mps")), 0.25, [20480, 10240]))
    assert told == {
        "CUDA_MPS_PIPE_DIRECTORY": "/run/mps",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=20480M,1=10240M",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
    }


def test_share_of_real_gpus_goes_through_mps_when_its_daemon_runs() -> None:
    given = hand_over(NODE, ATTEMPT, lambda: Mps(Path("/run/mps")))
    env = dict(given.env)
    assert given.real == ("GPU-1", "GPU-2")
    assert given.mps_pipes == Path("/run/mps")
    assert env["HOMEPORT_GPU_PORTION"] == "0.25"
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=20480M,1=10240M"


def test_share_of_real_gpus_is_by_time_when_no_daemon_runs() -> None:
    given = hand_over(NODE, ATTEMPT, lambda: None)
    assert given.real == ("GPU-1", "GPU-2")
    assert dict(given.env) == {"HOMEPORT_GPU_PORTION": "0.25"}
    assert given.mps_pipes is None


def test_nobody_looks_for_a_daemon_when_gpus_are_whole_or_simulated() -> None:
    def look() -> Mps | None:
        raise AssertionError("looked")

    whole = hand_over(NODE, replace(ATTEMPT, gpu_portion=1.0), look)
    assert (whole.real, whole.env) == (("GPU-1", "GPU-2"), ())
    simulated = hand_over(NODE, replace(ATTEMPT, gpu_uuids=(MADE_UP.uuid,)), look)
    assert simulated.real == ()
    assert dict(simulated.env) == {"HOMEPORT_SIMULATED_GPU": "1", "HOMEPORT_GPU_PORTION": "0.25"}
    assert hand_over(NODE, replace(ATTEMPT, gpu_uuids=()), look) == HandOver()


def test_order_of_devices_is_a_default_that_the_workload_may_change() -> None:
    given = hand_over(NODE, ATTEMPT, lambda: None)
    assert given.defaults == (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),)
    assert "CUDA_DEVICE_ORDER" not in dict(given.env)


def spec(given: HandOver) -> ContainerSpec:
    return ContainerSpec(
        "i", "w", "r-0", 1, 1, "image:1", ("true",),
        env=given.env, gpu_uuids=given.real, mps_pipes=given.mps_pipes,
    )  # fmt: skip


def test_event_says_that_nothing_isolates_when_there_is_no_mps() -> None:
    note = sharing_note(ATTEMPT, spec(hand_over(NODE, ATTEMPT, lambda: None)))
    assert "0.25 of GPU-1, GPU-2" in note
    assert "time-slicing" in note
    assert "nothing keeps memory and time" in note


def test_event_says_the_limits_when_there_is_mps() -> None:
    note = sharing_note(ATTEMPT, spec(hand_over(NODE, ATTEMPT, lambda: Mps(Path("/run/mps")))))
    assert "through MPS" in note
    assert "0=20480M,1=10240M" in note
    assert "25 %" in note


def test_there_is_no_event_when_nothing_real_is_shared() -> None:
    whole = replace(ATTEMPT, gpu_portion=1.0)
    assert sharing_note(whole, spec(hand_over(NODE, whole, lambda: None))) == ""
    simulated = replace(ATTEMPT, gpu_uuids=(MADE_UP.uuid,))
    assert sharing_note(simulated, spec(hand_over(NODE, simulated, lambda: None))) == ""
