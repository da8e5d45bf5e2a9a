"""The TLS options: files that can be used and others, and what comes of them for the driver and for the clients."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lib.errors import UsageError
from lib.http.tls import Tls, parse_tls
from tests.doubles.certificates import Authority, Certificate, self_signed
from tests.doubles.tls_server import QuietHandler, tls_server
from tests.support.driving import command
from tests.support.programs import needs

pytestmark = needs("openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("server")


def parsed(**options: object) -> Tls:
    return parse_tls({"ca_file": None, "insecure": False, "client_cert": None, "client_key": None, **options})


def shake_hands(address: str, tls: Tls) -> dict[str, Any]:
    """The server's certificate, as the context has read it; ssl.SSLError where it is not accepted."""
    host, _, port = address.partition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        tls.context().wrap_socket(plain, server_hostname=host) as connection,
    ):
        return dict(connection.getpeercert() or {})


def test_the_users_authorities_are_trusted_beside_the_systems(
    authority: Authority, certificate: Certificate
) -> None:
    tls = parsed(ca_file=authority.path)
    with tls_server(certificate, QuietHandler) as address:
        assert shake_hands(address, tls)["subject"] == ((("commonName", "server"),),)
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(address, Tls())
        assert shake_hands(address, parsed(insecure=True)) == {}
    own, systems = tls.context().cert_store_stats(), ssl.create_default_context().cert_store_stats()
    assert own["x509"] == systems["x509"] + 1


def test_any_certificate_may_be_trusted_as_go_has_it(certificate: Certificate) -> None:
    """The server's own, which is no CA and was issued by one that is not at hand."""
    with tls_server(certificate, QuietHandler) as address:
        assert shake_hands(address, parsed(ca_file=certificate.path))


def test_common_names_do_not_count_as_go_has_it(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "localhost", names="DNS:elsewhere.example")
    with (
        tls_server(certificate, QuietHandler) as address,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        shake_hands(address, parsed(ca_file=certificate.path))


def test_several_authorities_with_words_between(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(f"# Die größte\n{authority.path.read_text()}\nand:\n{other.path.read_text()}", "utf-8")
    tls = parsed(ca_file=both)
    for each in (authority, other):
        certificate = each.issue("either")
        with tls_server(certificate, QuietHandler) as address:
            assert shake_hands(address, tls)


def test_the_clients_bundle(tmp_path: Path, authority: Authority) -> None:
    system = tmp_path / "system.pem"
    system.write_bytes(b"the system's")
    tls = parsed(ca_file=authority.path)
    own = authority.path.read_bytes().strip()
    assert tls.bundle({"SSL_CERT_FILE": str(system)}).split(b"\n", 1) == [b"the system's", own + b"\n"]
    assert tls.bundle({"SSL_CERT_FILE": str(tmp_path / "none")}).strip() == own
    assert own in tls.bundle({})


PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no certificate in PEM"),
        ("what is this?", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "holds no certificate in PEM"),
        (PEM.format("AAAA"), "certificate 1 in .* is damaged"),
        (PEM.format("no base64"), "certificate 1 in .* is damaged"),
        (PEM.format("größer"), "certificate 1 in .* is damaged"),
    ],
)
def test_files_without_authorities(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(content, "utf-8")
    with pytest.raises(UsageError, match=f"^--ca-file: .*{told}"):
        parsed(ca_file=path)


def test_the_damaged_one_is_named(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(authority.path.read_text() + PEM.format("AAAA"))
    with pytest.raises(UsageError, match=r"certificate 2 in .* is damaged"):
        parsed(ca_file=path)


def test_pairs_that_do_not_fit(tmp_path: Path, authority: Authority, certificate: Certificate) -> None:
    other = authority.issue("other")
    locked = tmp_path / "locked.key"
    unlocked = [
        "openssl",
        "ec",
        "-in",
        str(certificate.key),
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        str(locked),
    ]
    subprocess.run(unlocked, check=True, capture_output=True)
    for pair, told in {
        (None, certificate.key): "--client-key needs a certificate; give it with --client-cert",
        (certificate.path, other.key): "does not belong to the certificate",
        (certificate.path, locked): "without a passphrase",
        (certificate.path, None): "must hold a certificate and its key",
        (certificate.key, certificate.key): "must hold a certificate and its key",
        (tmp_path / "none", None): "cannot read .*none: No such file",
        (certificate.path, tmp_path): "is not a regular file",
        (Path("/dev/null"), None): "is not a regular file",
    }.items():
        with pytest.raises(UsageError, match=told):
            parsed(client_cert=pair[0], client_key=pair[1])


def test_one_file_with_certificate_and_key(tmp_path: Path, certificate: Certificate) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.key.read_bytes() + certificate.path.read_bytes())
    tls = parsed(client_cert=both)
    assert (tls.client_cert, tls.key) == (both, both)
    assert tls.without_certificate() == Tls()


def test_what_the_summary_shows(authority: Authority) -> None:
    assert parsed(ca_file=authority.path).as_json() == {
        "insecure": False,
        "ca_file": str(authority.path),
        "client_cert": None,
        "client_key": None,
    }
    assert b"CERTIFICATE" not in repr(parsed(ca_file=authority.path)).encode()


@pytest.mark.parametrize("words", [[], ["doctor"]])
def test_wrong_usage_is_one_line(words: list[str], tmp_path: Path) -> None:
    servers = ["--pullthrough-url=c:1", "--registry-url=u:1", "--workers=1", f"--ca-file={tmp_path}/none"]
    done = subprocess.run(command(*words, *servers), capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"ocidriver: --ca-file: cannot read {tmp_path}/none: No such file or directory; give a PEM file\n"
    )
