"""The operations of a TMWS that runs elsewhere: a server, or the owner of a database on this machine."""

from tmws_adapters.remote.app import RemoteApp
from tmws_adapters.remote.failures import OutcomeUnknown, RemoteFailure, ServiceUnreachable
from tmws_adapters.remote.opening import open_remote, open_running

__all__ = ["OutcomeUnknown", "RemoteApp", "RemoteFailure", "ServiceUnreachable", "open_remote", "open_running"]
