"""The MCP and HTTP face: translates the protocols to App.call_wire, nothing more."""
