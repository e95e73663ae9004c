"""The admin service: what an operator does, over the store, its socket, HTTP and its clients."""

from __future__ import annotations

from nexeon.admin.client import AdminClient, connect, connect_http
from nexeon.admin.http import AdminHTTP
from nexeon.admin.service import AdminService
from nexeon.admin.socket import AdminServer

__all__ = ["AdminClient", "AdminHTTP", "AdminServer", "AdminService", "connect", "connect_http"]
