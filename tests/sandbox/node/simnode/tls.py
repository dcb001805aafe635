# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS as docs/product.md 7 has it: each node derives one authority from the cluster's secret, has its own certificate from it, and lets nobody in without one.

Shares nothing with the collection's own reading of that section, so that the two can be held against each other.
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import tempfile
from datetime import datetime, timedelta, timezone

LIFE = 7.0  # days


class Telling(ssl.SSLObject):
    """Tells a client what is wrong with its certificate: asyncio would hang up with the alert unsent, and sends it when it has to wait once more."""

    told = False

    def do_handshake(self):
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if self.told or "CERTIFICATE" not in (error.reason or ""):
                raise
            self.told = True
            raise ssl.SSLWantReadError


class Certificate:
    """Of one node, with the context in which it serves. ``host``: as the node stands in its list of peers. ``root``, ``chain``: PEM, the latter with the key.

    ``days``: until the node's own ends, before now where it is negative.
    """

    def __init__(self, secret: str, node_id: str, host: str, days: float = LIFE):
        from cryptography import x509  # only a node with TLS needs it
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        authority, authority_name = _authority(secret), _name(x509, "Aether Cluster CA")
        now = datetime.now(timezone.utc)
        self.expires_at = now + timedelta(days=days)
        self.renewed_at = min(now, self.expires_at)

        def certificate(subject, public_key, ends, *extensions):
            builder = x509.CertificateBuilder(authority_name, subject, public_key, x509.random_serial_number(), min(now, ends) - timedelta(minutes=5), ends)
            for extension, critical in extensions:
                builder = builder.add_extension(extension, critical)
            return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        try:
            own_host = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            own_host = x509.DNSName(host)
        identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
        signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = certificate(authority_name, authority.public_key(), now + timedelta(days=LIFE), (x509.BasicConstraints(True, None), True), (signs, True), (identifier, False))
        key = ec.generate_private_key(ec.SECP256R1())
        own = certificate(
            _name(x509, node_id), key.public_key(), self.expires_at, (x509.BasicConstraints(False, None), True), (x509.SubjectAlternativeName([own_host]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
        )
        secret_part = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.root, self.chain = root, own + secret_part
        self.context = self._context(ssl.PROTOCOL_TLS_SERVER)
        self.context.sslobject_class = Telling
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3

    def as_client(self) -> ssl.SSLContext:
        """Shows the same certificate when it asks others."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, role):
        context = ssl.SSLContext(role)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.root.decode())
        with tempfile.NamedTemporaryFile() as chain:  # of mode 0600, and gone as soon as it is read
            chain.write(self.chain)
            chain.flush()
            context.load_cert_chain(chain.name)
        return context


def from_files(authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """A context that serves with these files and lets in whom the authority has signed; raises OSError, of which ssl.SSLError is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Telling
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


def realm(secret: str) -> str:
    """What nodes of the same secret have in common, and others do not."""
    return hashlib.sha256(b"realm " + secret.encode()).hexdigest()[:16] if secret else ""


def _authority(secret):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(hashes.SHA256(), 32, b"aether-ca-seed", b"aether-ca-key-v1").derive(secret.encode("utf-8"))
    order = 115792089210356248762697446949407573529996955224135760342422259061068512044369  # of P-256
    return ec.derive_private_key(int.from_bytes(derived, "big") % (order - 1) + 1, ec.SECP256R1())


def _name(x509, text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
