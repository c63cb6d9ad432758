"""SiteKey: the Ed25519 key (RFC 8032) with which a site, or a server, signs what it says.

The folder of the keys is named by the operator. A key is made when it is first needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fedtrack.errors import ConfigError, PluginError
from fedtrack.files import unwritable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Names the folder of the keys, ``<site>.pem`` each; without it nothing is signed.
VARIABLE = "FEDTRACK_KEYS"


class SiteKey:
    """A private key.

    Args:
        key: The key.

    Attributes:
        public: The 32 bytes of the public key, in hex.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    @classmethod
    def find(cls, name: str) -> SiteKey | None:
        """Return the key of a site, which is made if it does not exist; None if nobody has named a folder of keys.

        Raises:
            ConfigError: The file holds no such key, or others may read it.
            PluginError: The library is not installed.
            WorkspaceError: The key cannot be written.
        """
        folder = os.environ.get(VARIABLE, "").strip()
        return cls.of(Path(folder) / f"{name}.pem") if folder else None

    @classmethod
    def of(cls, path: Path) -> SiteKey:
        """Return the key in a file; see ``find``."""
        ed25519, serialization = _library()
        try:
            data = path.read_bytes()
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"The key {str(path)!r} can be read by others; run: chmod 600 {path}")
        except FileNotFoundError:
            data = _made(path)
        except OSError as error:
            raise ConfigError(
                f"The key {str(path)!r} cannot be read: {error.strerror}; name a folder of this user in {VARIABLE}."
            ) from None
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ConfigError(f"The key {str(path)!r} is no Ed25519 key in PEM; delete it, and a new one is made.")
        return cls(key)

    def sign(self, data: bytes) -> str:
        """Return the signature of ``data``, 64 bytes in hex."""
        return self._key.sign(data).hex()


def signs() -> bool:
    """Return whether the operator has named a folder of keys, so that sites sign."""
    return bool(os.environ.get(VARIABLE, "").strip())


def is_signed(public: str, signature: str, data: bytes) -> bool:
    """Return whether a signature is that of a public key for ``data``; both are hex.

    Raises:
        PluginError: The library is not installed.
    """
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _made(path: Path) -> bytes:
    """Write a new key, unless another process does so at this moment, and return the one that is there."""
    ed25519, serialization = _library()
    data: bytes = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)  # never replaces a key that was made meanwhile
        except FileExistsError:
            return path.read_bytes()
        finally:
            new.unlink()
    except OSError as error:
        raise unwritable(str(path), error) from None
    return data


def _library() -> tuple[type, type] | tuple:  # type: ignore[type-arg]
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise PluginError(
            f"{VARIABLE} is set, and signing needs cryptography, which is not installed; install fedtrack[sign]."
        ) from None
    return ed25519, serialization
