"""HTTPS: certificates of our own and of a user, the gateway behind them, the proxy of `homeport exec`."""

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import subprocess
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeport.runtime.clock import SystemClock, VirtualClock
from homeport.server.certificates import domain_files, given_tls, own_tls, write_bundle
from homeport.server.errors import Invalid, StoreRefused
from homeport.server.gateway.gateway import Gateway
from homeport.server.gateway.link import LocalGateway
from homeport.server.gateway.supervisor import ProcessGateway
from homeport.server.routing import Route, hosts_of
from homeport.server.settings import load_settings
from homeport.server.tls import ServedTls, TlsFiles
from homeport.server.vendor_proxy import Upstream, VendorProxy, proxy_values
from tests.api.gateways import OK, Client, Replica, eventually, get, run

NOW = datetime.now(UTC) + timedelta(hours=1)  # what openssl makes begins at the second it is made


def user_files(folder: Path, name: str = "gpu.lan", days: str = "30", *more: str) -> TlsFiles:
    """As a user makes them, by openssl, without an authority."""
    made = TlsFiles(folder / f"{name}.pem", folder / f"{name}.key")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", days, "-subj", "/CN=x"]
    argv += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(made.key), "-out", str(made.cert), *more]
    subprocess.run(argv, check=True, capture_output=True)
    return made


def trusting(bundle: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(bundle))


async def secure(port: int, context: ssl.SSLContext, name: str = "127.0.0.1") -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))


@contextlib.asynccontextmanager
async def https(data_dir: Path, *replicas: Replica) -> AsyncGenerator[tuple[Gateway, int, ssl.SSLContext]]:
    tls = own_tls(data_dir, "127.0.0.1", ["gpu.lan"], NOW)
    gateway = Gateway(SystemClock())
    port = await gateway.listen(tls=ServedTls(tls.files))
    for one in replicas:
        gateway.put(Route("ws", "ep", (await one.start(),)))
    try:
        yield gateway, port, trusting(tls.bundle)
    finally:
        await gateway.close()
        for one in replicas:
            one.close()


# --- certificates


def test_own_certificate_is_good_for_its_names_and_private(tmp_path: Path) -> None:
    tls = own_tls(tmp_path, "10.1.2.3", ["gpu.lan"], NOW)
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for flag, name in (
        ("-verify_hostname", "localhost"), ("-verify_hostname", "gpu.lan"), ("-verify_ip", "10.1.2.3"),
        ("-verify_ip", "127.0.0.1"), ("-verify_ip", "::1"),
    ):  # fmt: skip
        argv = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(tls.bundle)]
        subprocess.run([*argv, flag, name, str(tls.files.cert)], check=True, capture_output=True)
    assert b"PRIVATE" not in tls.bundle.read_bytes() + tls.files.cert.read_bytes()


def test_own_certificate_stays_until_it_is_near_its_end_or_lacks_a_name(tmp_path: Path) -> None:
    def cert(after_days: float, *names: str) -> bytes:
        return own_tls(tmp_path, "127.0.0.1", names, NOW + timedelta(days=after_days)).files.cert.read_bytes()

    key = tmp_path / "tls" / "server.key"
    first, kept = cert(0), key.read_bytes()
    assert cert(300) == first
    renewed = cert(380)
    assert renewed != first
    assert cert(380, "more.lan") != renewed
    assert key.read_bytes() == kept
    key.chmod(0o644)  # somebody may have read it
    cert(380, "more.lan")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() != kept


def test_next_server_begins_with_the_names_of_the_one_before(tmp_path: Path) -> None:
    """Until it has a table of its own, its gateway serves on with the old one."""
    before = own_tls(tmp_path, "127.0.0.1", [], NOW)
    before.cover(tmp_path, ["ws-ep.localhost"], NOW)
    kept = before.files.cert.read_bytes()
    after = own_tls(tmp_path, "127.0.0.1", [], NOW)
    assert after.files.cert.read_bytes() == kept
    after.cover(tmp_path, [], NOW)
    assert after.files.cert.read_bytes() != kept


def test_authority_is_made_anew_before_its_certificates_would_outlive_it(tmp_path: Path) -> None:
    own_tls(tmp_path, "127.0.0.1", [], NOW)
    before = (tmp_path / "tls" / "ca.key").read_bytes()
    later = NOW + timedelta(days=3650 - 397)
    tls = own_tls(tmp_path, "127.0.0.1", [], later)
    assert (tmp_path / "tls" / "ca.key").read_bytes() != before
    at = str(int(later.timestamp()))
    argv = ["openssl", "verify", "-attime", at, "-CAfile", str(tls.bundle), str(tls.files.cert)]
    subprocess.run(argv, check=True, capture_output=True)


def test_damaged_authority_is_told_with_its_remedy(tmp_path: Path) -> None:
    own_tls(tmp_path, "127.0.0.1", [], NOW)
    (tmp_path / "tls" / "ca.key").write_text("nonsense")
    with pytest.raises(StoreRefused, match=r"remove .*tls to begin anew"):
        own_tls(tmp_path, "127.0.0.1", [], NOW)


def test_bundle_keeps_what_the_environment_trusted(tmp_path: Path) -> None:
    theirs = user_files(tmp_path).cert
    env = {"SSL_CERT_FILE": str(theirs)}
    bundle = write_bundle(tmp_path, env, NOW)
    assert theirs.read_text().strip() in bundle.read_text()
    again = write_bundle(tmp_path, {"SSL_CERT_FILE": str(bundle)}, NOW)  # of a shell that has ours already
    assert again.read_text().count("BEGIN CERTIFICATE") == 2


def test_users_certificate_is_taken(tmp_path: Path) -> None:
    files = user_files(tmp_path)
    tls = given_tls(tmp_path, files, ("127.0.0.1", "gpu.lan"), NOW)
    assert tls.host == "gpu.lan"
    assert files.cert.read_text().strip() in tls.bundle.read_text()
    before = files.cert.read_bytes()
    tls.cover(tmp_path, ["another.example"], NOW)
    assert files.cert.read_bytes() == before
    wild = user_files(tmp_path, "*.lan")
    assert given_tls(tmp_path, wild, ("gpu.lan",), NOW).host == "gpu.lan"


def _missing(files: TlsFiles) -> TlsFiles:
    files.key.unlink()
    return files


def _other_key(files: TlsFiles) -> TlsFiles:
    return TlsFiles(files.cert, user_files(files.key.parent, "other.lan").key)


def _text(files: TlsFiles) -> TlsFiles:
    files.cert.write_text("this is no certificate")
    return files


def _locked(files: TlsFiles) -> TlsFiles:
    argv = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(files.key), "-out", str(files.key)]
    subprocess.run(argv, check=True, capture_output=True)
    return files


@pytest.mark.parametrize(
    ("spoil", "name", "after_days", "field", "says"),
    [
        (_missing, "gpu.lan", 0, "--tls-key", "cannot read"),
        (_other_key, "gpu.lan", 0, "--tls-key", "does not belong to the certificate"),
        (_text, "gpu.lan", 0, "--tls-cert", "no certificate in PEM"),
        (_locked, "gpu.lan", 0, "--tls-key", "passphrase"),
        (lambda f: f, "elsewhere.lan", 0, "--tls-cert", "is for gpu.lan, not for elsewhere.lan"),
        (lambda f: f, "gpu.lan", 31, "--tls-cert", "renew it"),
    ],
)
def test_users_certificate_that_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, spoil: Callable[[TlsFiles], TlsFiles], name: str, after_days: int, field: str, says: str
) -> None:
    files = spoil(user_files(tmp_path))
    with pytest.raises(Invalid, match=says) as refused:
        given_tls(tmp_path, files, (name,), NOW + timedelta(days=after_days))
    assert refused.value.field == field


@pytest.mark.parametrize(("flag", "missing"), [("tls_cert", "--tls-key"), ("tls_key", "--tls-cert")])
def test_half_a_pair_is_refused(tmp_path: Path, flag: str, missing: str) -> None:
    with pytest.raises(Invalid, match=f"{missing}: is missing"):
        load_settings(data_dir=tmp_path, **{flag: tmp_path / "x.pem"})


# --- served


def test_gateway_speaks_https_and_tells_the_replica(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        async with https(tmp_path, one) as (gateway, port, context):
            client = await secure(port, context)
            for _ in range(3):
                assert (await client.ask(get())).body == b"ok"
            assert one.connections == 1
            assert b"X-Forwarded-Proto: https\r\n" in one.seen[0]
            assert client.writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
            gateway.put(Route("ws", "ep"))
            assert (await client.ask(get())).status == 503
            client.close()
            named = await secure(port, context, "gpu.lan")
            assert (await named.ask(get())).status == 503
            named.close()

    run(scenario)


def test_large_bodies_and_upgrades_pass_through_tls(tmp_path: Path) -> None:
    async def scenario() -> None:
        size = 3 << 20

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await one.head(reader)
            if b"Upgrade: echo" in head:
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
                )
                while piece := await reader.read(1000):
                    writer.write(piece)
                return
            body = await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body[::-1])

        one = Replica(serve)
        async with https(tmp_path, one) as (_, port, context):
            client = await secure(port, context)
            body = os.urandom(size)
            answer = await client.ask(get("/", method="POST", body=body))
            assert answer.body == body[::-1]
            other = await secure(port, context)
            assert (await other.ask(get("/", "Connection: Upgrade", "Upgrade: echo"))).status == 101
            other.send(b"hello")
            assert await other.reader.readexactly(5) == b"hello"
            other.close()
            client.close()
            await eventually("the replica notices", lambda: one.open == 0)

    run(scenario)


def test_http_2_is_not_agreed_on_and_grpc_is_told_what_it_needs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with https(tmp_path, Replica()) as (_, port, context):
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = await secure(port, context)
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            answer = await client.ask(get("/", "Content-Type: application/grpc", method="POST"))
            assert (answer.status, b"needs HTTP/2" in answer.body) == (505, True)
            client.close()
            context.set_alpn_protocols(["h2"])
            only = await secure(port, context)
            only.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert b"HTTP/2 and gRPC need a proxy" in await only.reader.read(1000)
            only.close()

    run(scenario)


def test_who_speaks_http_or_nothing_or_old_tls_to_the_https_port_is_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        async with https(tmp_path, one) as (_, port, context):
            plain = await Client.connect(port)
            plain.send(get())
            assert b"ok" not in await plain.reader.read(1000)
            plain.close()
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await secure(port, context)
            with pytest.raises(ssl.SSLCertVerificationError):
                await secure(port, ssl.create_default_context())
            assert one.seen == []

    run(scenario)


def test_certificate_that_changes_is_taken_up_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    files = user_files(tmp_path)
    served = ServedTls(files)

    async def serial() -> bytes:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=served.context)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = await secure(server.sockets[0].getsockname()[1], context)
        found = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        client.close()
        server.close()
        return found

    async def scenario() -> None:
        first = await serial()
        served.look()
        assert await serial() == first
        other = user_files(tmp_path, "other.lan")
        files.cert.write_bytes(other.cert.read_bytes())  # the key is still the old one
        served.look()
        assert await serial() == first
        files.key.write_bytes(other.key.read_bytes())
        served.look()
        assert await serial() != first

    run(scenario)


def test_names_of_new_endpoints_come_into_the_certificate(tmp_path: Path) -> None:
    """OpenSSL takes no `*.localhost`, so each name stands in it."""

    async def scenario() -> None:
        tls = own_tls(tmp_path, "127.0.0.1", [], NOW)
        clock = VirtualClock()
        gateway = Gateway(clock)
        port = await gateway.listen(tls=ServedTls(tls.files))
        context = trusting(tls.bundle)
        name = hosts_of("ws", "ep")[0]
        with pytest.raises(ssl.SSLCertVerificationError):
            await secure(port, context, name)
        tls.cover(tmp_path, [name, "api.example.com"], NOW)
        for _ in range(4):
            clock.advance(0.5)
            await asyncio.sleep(0)
        for known in (name, "api.example.com"):
            client = await secure(port, context, known)
            asked = f"GET / HTTP/1.1\r\nHost: {known}\r\n\r\n".encode()
            assert (await client.ask(asked)).status == 404
            client.close()
        await gateway.close()

    run(scenario)


def test_gateway_of_its_own_is_replaced_when_https_is_turned_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = own_tls(tmp_path, "127.0.0.1", [], NOW)
        one = Replica()
        route = Route("ws", "ep", (await one.start(),))
        plain = ProcessGateway(tmp_path, SystemClock())
        port = await plain.start()
        await plain.show([route])
        await plain.close()
        safe = ProcessGateway(tmp_path, SystemClock(), port=port, tls=tls.files)
        assert await safe.start() == port
        await safe.show([route])
        client = await secure(port, trusting(tls.bundle))
        assert (await client.ask(get())).status == 200
        client.close()
        await safe.close(stop=True)
        local = LocalGateway(SystemClock(), tls=tls.files)
        port = await local.start()
        await local.show([route])
        client = await secure(port, trusting(tls.bundle))
        assert (await client.ask(get())).status == 200
        client.close()
        await local.close()
        one.close()

    run(scenario)


# --- the proxy of `homeport exec`


@contextlib.asynccontextmanager
async def proxy(data_dir: Path, gateway_port: int) -> AsyncGenerator[int]:
    served = ServedTls(domain_files(data_dir, "vendor", "xenon.lepton.run", NOW))
    made = VendorProxy(served.context, Upstream("127.0.0.1", gateway_port))
    server, port = await made.listen()
    try:
        yield port
    finally:
        server.close()
        await made.close()


def test_connect_to_the_vendors_domain_ends_at_the_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        gateway = Gateway(SystemClock())
        port = await gateway.listen()
        gateway.put(Route("ws", "ep", (await one.start(),), hosts=hosts_of("ws", "ep")))
        async with proxy(tmp_path, port) as at:
            context = trusting(write_bundle(tmp_path, {}, NOW))
            client = await Client.connect(at)
            client.send(
                b"CONNECT ws-ep.xenon.lepton.run:443 HTTP/1.1\r\nHost: ws-ep.xenon.lepton.run:443\r\n\r\n"
            )
            assert b"200" in await client.reader.readuntil(b"\r\n\r\n")
            await client.writer.start_tls(context, server_hostname="ws-ep.xenon.lepton.run")
            for _ in range(2):
                asked = b"GET /x HTTP/1.1\r\nHost: ws-ep.xenon.lepton.run\r\n\r\n"
                assert (await client.ask(asked)).body == OK.rpartition(b"\r\n")[2]
            assert one.seen[0].startswith(b"GET /x HTTP/1.1\r\n")
            client.close()
        await gateway.close()
        one.close()

    run(scenario)


@pytest.mark.parametrize(
    "head",
    [
        "CONNECT example.com:443 HTTP/1.1",
        "CONNECT xenon.lepton.run:443 HTTP/1.1",
        "CONNECT a.b.xenon.lepton.run:443 HTTP/1.1",
        "CONNECT ws-ep.xenon.lepton.run:22 HTTP/1.1",
        "CONNECT ws-ep.xenon.lepton.run HTTP/1.1",
        "CONNECT ws-ep.xenon.lepton.run.evil.example:443 HTTP/1.1",
        "CONNECT evil.example/ws-ep.xenon.lepton.run:443 HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "GET http://ws-ep.xenon.lepton.run/ HTTP/1.1",
        "GET https://ws-ep.xenon.lepton.run/ HTTP/1.1",
        "GET / HTTP/1.1",
        "POST http://169.254.169.254/latest HTTP/1.1",
    ],
)
def test_proxy_leads_nowhere_else(tmp_path: Path, head: str) -> None:
    async def scenario() -> None:
        async with proxy(tmp_path, 1) as at:
            client = await Client.connect(at)
            answer = await client.ask(f"{head}\r\nHost: x\r\n\r\n".encode())
            assert answer.status == 403
            assert b"--no-proxy" in answer.body
            assert await client.is_closed()

    run(scenario)


def test_proxy_bounds_what_it_reads_and_tells_that_no_gateway_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with proxy(tmp_path, unused.getsockname()[1]) as at:
                client = await Client.connect(at)
                asked = b"CONNECT ws-ep.xenon.lepton.run:443 HTTP/1.1\r\n\r\n"
                assert (await client.ask(asked)).status == 502
                flood = await Client.connect(at)
                assert (await flood.ask(b"CONNECT " + b"x" * 200_000)).status == 431

    run(scenario)


def test_values_for_the_command_keep_what_it_reached_directly() -> None:
    found = proxy_values(4000, "gpu.lan", {"NO_PROXY": "intra.example,localhost"})
    assert found["HTTPS_PROXY"] == found["https_proxy"] == "http://127.0.0.1:4000"
    assert found["NO_PROXY"] == "intra.example,localhost,127.0.0.1,::1,gpu.lan"
