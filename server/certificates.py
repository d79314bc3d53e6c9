"""Certificates of our own, below the data directory, and the check of those that a user gives."""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import Invalid, StoreRefused
from .tls import TRUST_VARIABLES, TlsFiles

FOLDER = "tls"
CA_LIFE, LEAF_LIFE = timedelta(days=3650), timedelta(days=397)  # the second: as long as clients take
CA_RENEW, LEAF_RENEW = LEAF_LIFE + timedelta(days=1), timedelta(days=30)  # so long before the end
EARLIER = timedelta(days=1)  # valid from then: clocks differ
MOST_NAMES = 1000  # of one certificate: some 40 KiB; OpenSSL takes 100
LONGEST_NAME = 253
BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
ALWAYS = ("localhost", "127.0.0.1", "::1", "*.localhost")


@dataclass(frozen=True, slots=True)
class Authority:
    key: ec.EllipticCurvePrivateKey
    cert: x509.Certificate


@dataclass(frozen=True, slots=True)
class ServerTls:
    """
    Args:
        host: a name or address of the server that the certificate is good for.
        bundle: what a client has to trust, the system's own list included.
        own_names: of a certificate of our own, which is made anew for more; None: it is the user's.
    """

    files: TlsFiles
    host: str
    bundle: Path
    own_names: tuple[str, ...] | None = None

    def cover(self, data_dir: Path, hosts: Iterable[str], now: datetime) -> None:
        """Makes our own certificate good for these hosts too, and as long as it should be."""
        if self.own_names is not None:
            _ensure_leaf(data_dir / FOLDER, "server", (*self.own_names, *hosts), now, may_have_more=False)


def own_tls(data_dir: Path, host: str, names: Sequence[str], now: datetime) -> ServerTls:
    """For `--tls` without files. `names`: beside `host`, by which the server is reached."""
    wanted = tuple(dict.fromkeys((*ALWAYS, host, *names)))
    files = _ensure_leaf(data_dir / FOLDER, "server", wanted, now)
    return ServerTls(files, host, write_bundle(data_dir, os.environ, now), wanted)


def given_tls(data_dir: Path, files: TlsFiles, names: Sequence[str], now: datetime) -> ServerTls:
    """
    For `--tls-cert` and `--tls-key`.

    Raises:
        Invalid: they cannot be used, and why.
    """
    chain = _read("--tls-cert", files.cert)
    try:
        certs = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise Invalid("--tls-cert", f"{files.cert} is no certificate in PEM: {error}") from error
    try:
        key = serialization.load_pem_private_key(_read("--tls-key", files.key), None)
    except TypeError as error:
        raise Invalid(
            "--tls-key", f"{files.key} has a passphrase; store the key without one, readable by you only"
        ) from error
    except ValueError as error:
        raise Invalid("--tls-key", f"{files.key} is no private key in PEM: {error}") from error
    leaf = certs[0]
    if _public(key.public_key()) != _public(leaf.public_key()):
        raise Invalid("--tls-key", f"{files.key} does not belong to the certificate {files.cert}")
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise Invalid(
            "--tls-cert",
            f"{files.cert} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}, not now; renew it",
        )
    covered = _names_of(leaf)
    host = next((n for n in names if _is_covered(n, covered)), None)
    if host is None:
        told = ", ".join(sorted(covered)) or "no name at all"
        raise Invalid(
            "--tls-cert",
            f"{files.cert} is for {told}, not for {' or '.join(names)}; name it with --host or --allow-host",
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("--tls-cert", f"{files.cert} cannot be served: {error}") from error
    return ServerTls(files, host, write_bundle(data_dir, os.environ, now, chain))


def domain_files(data_dir: Path, name: str, domain: str, now: datetime) -> TlsFiles:
    """A certificate of our own for everything below a domain."""
    return _ensure_leaf(data_dir / FOLDER, name, (domain, f"*.{domain}"), now)


def write_bundle(data_dir: Path, env: Mapping[str, str], now: datetime, more: bytes = b"") -> Path:
    """
    What the environment's programs trust, our own authority and `more`, in one file.

    It is put where TRUST_VARIABLES may point at it.
    """
    folder = data_dir / FOLDER
    blocks: dict[bytes, None] = {}
    for path in _trusted(env):
        with suppress(OSError):
            blocks.update(dict.fromkeys(BLOCK.findall(path.read_bytes())))
    blocks.update(dict.fromkeys(BLOCK.findall(_pem(_ensure_authority(folder, now).cert) + more)))
    bundle = folder / "bundle.pem"
    _write(bundle, b"\n".join([*blocks, b""]), 0o644)
    return bundle


def _trusted(env: Mapping[str, str]) -> list[Path]:
    named = [Path(env[name]) for name in TRUST_VARIABLES if env.get(name)]
    if found := [path for path in named if path.is_file()]:
        return found
    default = ssl.get_default_verify_paths()
    usual = [Path(default.openssl_cafile), Path("/etc/ssl/certs/ca-certificates.crt")]
    with suppress(ImportError):
        import certifi

        usual.append(Path(certifi.where()))
    return [path for path in usual if path.is_file()][:1]


# --- making


def _ensure_authority(folder: Path, now: datetime) -> Authority:
    """Its key never leaves this file, which only the server's user can read."""
    path = folder / "ca.key"
    for _ in range(2):
        if path.exists():
            found = _load_authority(path)
            if found.cert.not_valid_after_utc - now > CA_RENEW:
                return found
        made = _make_authority(now)
        folder.mkdir(mode=0o700, exist_ok=True)
        draft = folder / f".ca.{os.getpid()}"
        _write(draft, _key_pem(made.key) + _pem(made.cert), 0o600)
        try:
            if path.exists():
                draft.replace(path)
            else:
                os.link(draft, path)  # of two that begin at the same time, the first one's holds for both
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return _load_authority(path)


def _load_authority(path: Path) -> Authority:
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, None)
        cert = x509.load_pem_x509_certificate(data)
    except (OSError, ValueError, TypeError) as error:
        raise StoreRefused(f"{path} cannot be read ({error}); remove {path.parent} to begin anew") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreRefused(f"{path} is no key of ours; remove {path.parent} to begin anew")
    return Authority(key, cert)


def _make_authority(now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Homeport local authority")])
    usage = _usage(signs=True)
    cert = (
        _builder(name, key, now, CA_LIFE)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, cert)


def _ensure_leaf(
    folder: Path, name: str, names: Iterable[str], now: datetime, *, may_have_more: bool = True
) -> TlsFiles:
    """`may_have_more`: of the server before this one, whose endpoints are still served."""
    authority = _ensure_authority(folder, now)
    files = TlsFiles(folder / f"{name}.pem", folder / f"{name}.key")
    wanted = list(dict.fromkeys(n for n in names if n and len(n) <= LONGEST_NAME))[:MOST_NAMES]
    has = _names_if_good(files, authority, now)
    names_wanted = {_plain(n) for n in wanted}
    if has == names_wanted or (may_have_more and has > names_wanted):
        return files
    key = _kept_key(files.key)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        _write(files.key, _key_pem(key), 0o600)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Homeport")])
    cert = (
        _builder(subject, key, now, LEAF_LIFE)
        .issuer_name(authority.cert.subject)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in wanted]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .add_extension(_usage(signs=False), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    _write(files.cert, _pem(cert) + _pem(authority.cert), 0o644)
    return files


def _kept_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """None: there is none that nobody else could have read."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        is_private = path.stat().st_mode & 0o077 == 0
    except (OSError, ValueError, TypeError):
        return None
    return key if is_private and isinstance(key, ec.EllipticCurvePrivateKey) else None


def _names_if_good(files: TlsFiles, authority: Authority, now: datetime) -> set[str]:
    """Of a certificate that is ours, lasts a while and fits its key; empty of another."""
    try:
        cert = x509.load_pem_x509_certificate(files.cert.read_bytes())
        cert.verify_directly_issued_by(authority.cert)
    except (OSError, ValueError, TypeError, InvalidSignature):  # it is made anew
        return set()
    key = _kept_key(files.key)
    is_good = (
        key is not None
        and _public(key.public_key()) == _public(cert.public_key())
        and cert.not_valid_after_utc - now > LEAF_RENEW
        and cert.not_valid_before_utc <= now
    )
    return _names_of(cert) if is_good else set()


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


# --- small things


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.lower())


def _plain(name: str) -> str:
    return str(_general(name).value)


def _names_of(cert: x509.Certificate) -> set[str]:
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(general.value).lower() for general in found}


def _is_covered(name: str, covered: set[str]) -> bool:
    plain = _plain(name)
    return plain in covered or f"*.{plain.partition('.')[2]}" in covered


def _public(key: object) -> bytes:
    return key.public_bytes(  # pyright: ignore[reportAttributeAccessIssue]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(flag, f"cannot read {path}: {error.strerror}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Atomically; what is private is so from its first byte."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(data)
        file.flush()
        os.fsync(handle)
    draft.replace(path)
