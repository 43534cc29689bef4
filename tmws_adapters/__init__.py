"""Adapters: one package for each technology that the ports are served with."""
