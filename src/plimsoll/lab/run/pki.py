"""Certificates and keys of one lab: two authorities, what they sign, and the key that signs service account tokens.

Elliptic curve keys everywhere, except for service account tokens, which the API server signs with RSA by default.
Everything is valid for a year; a lab is made anew long before.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plimsoll.kube.files import whole

_YEAR = timedelta(days=365)
_LEEWAY = timedelta(hours=1)  # before now, for clocks that are behind


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, PEM, on disk."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates and keeps them in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"plimsoll lab {name}")])
        self._certificate = (
            _builder(subject, subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.files = _write(folder, name, self._certificate, self._key)

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str, common_name: str, *, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Pair:
        """A new key and a certificate for it, fit for servers and clients, as `name`.crt and `name`.key.

        groups: the organisations that Kubernetes reads as groups. hosts: DNS names and addresses it answers to.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return _write(self.folder, name, builder.sign(self._key, hashes.SHA256()), key)


def signing_key(folder: Path, name: str) -> Pair:
    """An RSA key for service account tokens: the public half as `cert`, the private one as `key`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair = Pair(folder / f"{name}.pub", folder / f"{name}.key")
    _put(pair.cert, public)
    _put(pair.key, _pem(key))
    return pair


def kubeconfig(path: Path, server: str, authority: bytes, *, pair: Pair | None = None, token: str = "") -> Path:
    """A kubeconfig with one context, everything inlined; the user is a certificate or a bearer token."""

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    user = (
        {
            "client-certificate-data": inline(pair.cert.read_bytes()),
            "client-key-data": inline(pair.key.read_bytes()),
        }
        if pair
        else {"token": token}
    )
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": inline(authority)}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    }
    _put(path, msgspec.json.format(msgspec.json.encode(document), indent=1))  # JSON is YAML
    return path


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(now + _YEAR)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    _put(pair.cert, certificate.public_bytes(serialization.Encoding.PEM))
    _put(pair.key, _pem(key))
    return pair


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, private=True) as file:
        file.write(data)
