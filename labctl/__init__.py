"""Hands-on infrastructure labs from topology files: libvirt machines, configured and checked."""

__version__ = "0.1.0"
