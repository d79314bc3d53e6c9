"""Workspace workloads."""

from .. import wire_workloads as wire
from ..registry import Routes
from .typed import serve

routes = Routes()
serve(routes, "/api/v1/workloads/workspaces", "Workspace", wire.WorkspaceCreation)
