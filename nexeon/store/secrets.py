"""Secrets: how clients' keys are made and hashed, and how providers' keys are encrypted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets as random
from pathlib import Path

from nexeon.errors import StoreError, StoreUnavailable

PREFIX = "nex-sk-"
VARIABLE = "NEXEON_SECRET_KEY"
_SHORTEST = 16


def new_id(prefix: str) -> str:
    return f"{prefix}_{random.token_hex(8)}"


def new_secret() -> str:
    """A client's key: 256 bits."""
    return PREFIX + random.token_urlsafe(32)


def digest(secret: str) -> str:
    """What the store keeps of a client's key. The secret is random and long: a plain SHA-256 cannot be searched."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def last4(secret: str) -> str:
    """The end of a secret for display; nothing of one too short to show any of."""
    return secret[-4:] if len(secret) >= _SHORTEST else ""


class Vault:
    """Encrypts and decrypts with one key. The key comes from `NEXEON_SECRET_KEY`, else from a file of mode 0600.

    The variable holds 32 bytes in url-safe base64, or any text of at least 16 characters. Without a file (`None`) and
    without the variable the key is random and lives as long as the process. Nothing is read before the first use.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._key: bytes | None = None

    def encrypt(self, secret: str) -> str:
        from cryptography.fernet import Fernet

        return Fernet(self._load()).encrypt(secret.encode()).decode()

    def decrypt(self, sealed: str) -> str:
        """Raises StoreError when the key is not the one that it was encrypted with."""
        from cryptography.fernet import Fernet, InvalidToken

        try:
            return Fernet(self._load()).decrypt(sealed).decode()
        except InvalidToken:
            source = VARIABLE if os.environ.get(VARIABLE) else str(self._file or VARIABLE)
            raise StoreError(f"it was encrypted with another key than the one in {source}") from None

    def _load(self) -> bytes:
        if self._key is None:
            text = os.environ.get(VARIABLE, "").strip()
            if text:
                self._key = _from_text(text)
            elif self._file is not None:
                self._key = _from_file(self._file)
            else:
                self._key = base64.urlsafe_b64encode(random.token_bytes(32))
        return self._key


def _from_text(text: str) -> bytes:
    try:
        if len(base64.urlsafe_b64decode(text)) == 32:
            return text.encode()
    except (binascii.Error, ValueError):
        pass
    if len(text) < _SHORTEST:
        raise StoreError(f"{VARIABLE} is too short: give it at least {_SHORTEST} characters, or 32 bytes in base64")
    # The salt is fixed because every process must come to the same key from the variable alone.
    derived = hashlib.scrypt(text.encode(), salt=b"nexeon provider keys", n=2**14, r=8, p=1, dklen=32)
    return base64.urlsafe_b64encode(derived)


def _from_file(file: Path) -> bytes:
    try:
        if not file.exists():
            _create(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise StoreUnavailable(f"the key for provider secrets cannot be read: {file}: {error.strerror}") from error
    try:
        valid = len(base64.urlsafe_b64decode(key)) == 32
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise StoreError(f"{file} does not hold 32 bytes in url-safe base64; restore it from a backup")
    return key


def _create(file: Path) -> None:
    """Whole or not at all: a crash never leaves half a key behind."""
    temporary = file.with_name(file.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, base64.urlsafe_b64encode(random.token_bytes(32)) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, file)
