"""The core of TMWS: domain, ports, services and operations; no input or output of its own."""
