"""The keys of a lab's tunnels: made once, for their owner alone, inherited by clones."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import x25519

from labctl.lab.keys import copy_inherited, ensure_tunnel_keys, tunnel_key_paths
from labctl.plan.model import Folders


def test_tunnel_keys_are_drawn_once_and_agree_with_each_other(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.secrets.mkdir()
    ensure_tunnel_keys(folders, ["r1", "r3"])
    pairs = [tunnel_key_paths(folders, name) for name in ("r1", "r3")]
    private, public = ([base64.b64decode(path.read_bytes()) for path in paths] for paths in zip(*pairs, strict=True))
    keys = [x25519.X25519PrivateKey.from_private_bytes(key) for key in private]
    others = [x25519.X25519PublicKey.from_public_bytes(key) for key in reversed(public)]
    one, other = (key.exchange(peer) for key, peer in zip(keys, others, strict=True))
    assert one == other
    assert all(path.stat().st_mode & 0o777 == 0o600 for pair in pairs for path in pair)
    ensure_tunnel_keys(folders, ["r1", "r3"])
    assert base64.b64decode(pairs[0][0].read_bytes()) == private[0]
    clone = Folders(tmp_path / "clone")
    copy_inherited(folders.secrets, clone.secrets)
    assert (clone.secrets / "wireguard_r1").read_bytes() == pairs[0][0].read_bytes()
