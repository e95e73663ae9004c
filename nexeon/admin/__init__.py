"""The admin service: what an operator does, over the store, its socket and its clients."""

from __future__ import annotations

from nexeon.admin.client import AdminClient, connect
from nexeon.admin.service import AdminService
from nexeon.admin.socket import AdminServer

__all__ = ["AdminClient", "AdminServer", "AdminService", "connect"]
