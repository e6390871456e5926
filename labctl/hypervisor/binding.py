"""The names of libvirt's objects in annotations; the binding has no types of its own."""

from typing import Any

Connection = Any  # libvirt.virConnect
Domain = Any  # libvirt.virDomain
Network = Any  # libvirt.virNetwork
Handle = Any  # a domain or a network
Stream = Any  # libvirt.virStream
Opaque = Any  # what a callback got at its registration, and what else we do not read
