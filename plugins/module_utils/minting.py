# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What does a client need to be let in where it knows nothing but the cluster's secret? And how long is a certificate good that nobody renews by itself?

Every node derives the same certificate authority from the secret (docs/product.md 7), and so does this: the key is the same, the certificate is
our own. With it a client certificate is made that lives for an hour, as long as a task may run. Nothing of it touches a disk.
"""

from __future__ import annotations

import datetime
import os
import ssl
import stat
import tempfile
import time
from typing import Any, Dict, Iterable, Optional, Tuple

from .model import AetherError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    CRYPTOGRAPHY_ERROR = None
except ImportError as error:
    x509 = None
    CRYPTOGRAPHY_ERROR = error

# docs/product.md 7: HKDF-SHA256 of the secret, as a number below the order of P-256.
SALT, INFO, LENGTH = b"aether-ca-seed", b"aether-ca-key-v1", 32
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
AUTHORITY = "Aether Cluster CA"
CLIENT = "pragmatica.aether"
LIFE = datetime.timedelta(hours=1)
DAY = 86400
AUTHORITY_KEY = "ca.key"  # in the folder of a private authority
OTHERS = stat.S_IRWXG | stat.S_IRWXO
SOON = 30 * DAY  # a certificate in a file is to be replaced so long before its end, or in the last third of its time where that is shorter
CLOCKS = datetime.timedelta(minutes=5)  # by so much the clock of a node may be behind


def authority_key(secret: str):
    """The private key of the authority that the nodes of this secret have."""
    seed = HKDF(algorithm=hashes.SHA256(), length=LENGTH, salt=SALT, info=INFO).derive(secret.encode())
    return ec.derive_private_key(int.from_bytes(seed, "big") % (ORDER - 1) + 1, ec.SECP256R1())


def authority(secret: str) -> Tuple[object, object]:
    """(key, certificate) of the authority."""
    key = authority_key(secret)
    certificate = (
        _builder(AUTHORITY, AUTHORITY, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def issued(secret: str, name: str, *extensions) -> Tuple[object, object]:
    """(key, certificate) of ``name``, signed by the authority of ``secret``."""
    signer = authority_key(secret)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, AUTHORITY, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return key, builder.sign(signer, hashes.SHA256())


def client_context(secret: str) -> ssl.SSLContext:
    """Trusts the nodes of this secret and nobody else, by their host names, and shows them a certificate of theirs.

    Raises AetherError ``bad_input`` where the library is missing.
    """
    if x509 is None:
        raise AetherError(
            "bad_input", "Option 'cluster_secret' needs the Python library cryptography where the task runs: install it there (requirements.txt names it)."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(authority(secret)[1]).decode())
    key, certificate = issued(secret, CLIENT, x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]))
    load_chain(context, pem(certificate) + pem(key))
    return context


def pem(item) -> bytes:
    """Of a certificate or of a private key."""
    if hasattr(item, "private_bytes"):
        return item.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return item.public_bytes(serialization.Encoding.PEM)


def load_chain(context: ssl.SSLContext, chain: bytes) -> None:
    """Give the context a key and its certificate through a file without a name, in memory where the system can: the library reads them from files alone."""
    with open(os.memfd_create("chain"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as file:
        file.write(chain)
        file.flush()
        context.load_cert_chain("/dev/fd/%d" % file.fileno())


def by_hand(times: Optional[Tuple[float, float]]) -> Dict[str, Any]:
    """What aether_info tells of a certificate that is a file: ``renewal`` is DUE when its end is near.

    ``times``: first and last moment, in seconds since 1970; None: there is none.
    """
    if times is None:
        return {"renewal": "NOT_CONFIGURED", "expires_at": None, "seconds_left": None, "last_renewal": None}
    begin, end = times
    left = int(end - time.time())
    ends = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    return {"renewal": "DUE" if left < min(SOON, (end - begin) / 3) else "BY_HAND", "expires_at": ends, "seconds_left": left, "last_renewal": None}


def open_keys(paths: Iterable[Optional[str]]) -> Dict[str, str]:
    """Path -> mode, such as ``0644``, of files here with a private key in clear that let others in than their owner; what cannot be read is left out."""
    found = {}
    for path in filter(None, paths):
        try:
            with open(os.path.expanduser(path), "rb") as file:
                text, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        except OSError:
            continue  # whoever needs it says so
        if mode & OTHERS and b"PRIVATE KEY-----" in text and b"ENCRYPTED" not in text:
            found[path] = "%04o" % mode
    return found


def times_of(path: str) -> Optional[Tuple[float, float]]:
    """First and last moment at which all certificates in a file of PEM are good, in seconds since 1970; None without the library, or without any."""
    if x509 is None:
        return None
    try:
        with open(path, "rb") as file:
            found = x509.load_pem_x509_certificates(file.read())
    except (OSError, ValueError):
        return None
    return max(c.not_valid_before_utc.timestamp() for c in found), min(c.not_valid_after_utc.timestamp() for c in found)


def _builder(name, issuer, public_key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(**true):
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: true.get(name, False) for name in names})
