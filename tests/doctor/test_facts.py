import json
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labctl.doctor.examination import examine, findings_document
from labctl.doctor.facts import (
    find_closed_folder,
    find_missing_packages,
    gather_facts,
    read_apparmor,
    read_bridge_filter,
    read_ipv6,
    read_limits,
    read_qemu_user,
)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_ipv6_needs_both_switches(tmp_path: Path) -> None:
    assert not read_ipv6(tmp_path / "none")
    write(tmp_path / "all", disable_ipv6="0\n")
    write(tmp_path / "default", disable_ipv6="0\n")
    assert read_ipv6(tmp_path)
    write(tmp_path / "default", disable_ipv6="1\n")
    assert not read_ipv6(tmp_path)


def test_the_bridge_filter_is_off_without_its_module(tmp_path: Path) -> None:
    assert not read_bridge_filter(tmp_path / "none")
    (tmp_path / "bridge-nf-call-iptables").write_text("0\n")
    (tmp_path / "bridge-nf-call-ip6tables").write_text("1\n")
    assert read_bridge_filter(tmp_path)


def test_limits_are_read_without_inotify(tmp_path: Path) -> None:
    limits = read_limits(tmp_path / "none")
    assert limits.inotify_instances is None
    assert limits.open_files[0] <= limits.open_files[1]


def test_apparmor_is_off_without_its_switch(tmp_path: Path) -> None:
    assert not read_apparmor(tmp_path / "none")
    assert read_apparmor(write(tmp_path, enabled="Y\n") / "enabled")


@pytest.mark.parametrize(
    ("text", "user"), [('#user = "root"\n', ""), ('  user="root" # no\n', "root"), ('user = "a"\nuser = "+0"\n', "+0")]
)
def test_the_user_of_guests_is_read_as_libvirt_does(tmp_path: Path, text: str, user: str) -> None:  # SEC-04
    assert read_qemu_user(write(tmp_path, conf=text) / "conf") == user


@pytest.mark.skipif("libvirt-qemu" not in {user.pw_name for user in pwd.getpwall()}, reason="libvirt is not installed")
def test_the_first_closed_folder_on_the_way_is_named() -> None:
    with tempfile.TemporaryDirectory(prefix="lctest-", dir="/var/tmp") as name:  # pytest's own folder is closed
        outer = Path(name)
        outer.chmod(0o755)
        (outer / "home").mkdir(mode=0o755)
        assert find_closed_folder(outer / "home" / "later") is None
        outer.chmod(0o700)
        assert find_closed_folder(outer / "home") == outer


def test_missing_programs_are_told_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = find_missing_packages()
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = find_missing_packages(tmp_path / "none")
    assert set(everything) < set(missing)
    assert {"mmdebstrap", "qemu-utils", "graphviz", "grub-pc-bin", "openssh-client"} <= set(missing)


def test_this_host_is_examined(tmp_path: Path) -> None:
    findings = examine(tmp_path, "test:///default")
    assert next(each for each in findings if each.code == "libvirt").level == "ok"
    document = json.loads(json.dumps(findings_document(findings)))
    assert document["version"] == 1
    assert {"code", "level", "text", "cure", "automatic"} == set(document["findings"][0])
    facts = gather_facts(tmp_path, "test:///default")
    assert facts.libvirt.answers
    assert facts.deliveries is None  # the self-test is for QEMU


def test_libvirt_that_is_down_is_a_problem_with_the_command_that_starts_it(tmp_path: Path) -> None:  # F-10
    found = next(
        each for each in examine(tmp_path, f"qemu+unix:///system?socket={tmp_path}/none") if each.code == "libvirt"
    )
    assert found.level == "problem"
    assert "libvirtd" in found.cure


def test_a_bare_container_is_explained_without_a_traceback(tmp_path: Path) -> None:
    """No QEMU, no libvirt library, no program at all: the same call explains."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "libvirt.py").write_text('raise ImportError("libvirt.so.0: cannot open shared object file")\n')
    root = Path(__file__).parents[2]
    code = (
        "import json, pathlib, sys\n"
        "from labctl.doctor.examination import examine, findings_document\n"
        "print(json.dumps(findings_document(examine(pathlib.Path(sys.argv[1])))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "no" / "home"],
        env={"PATH": str(tmp_path / "empty"), "PYTHONPATH": f"{broken}:{root}", "LABCTL_LANG": "en"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    levels = {each["code"]: each["level"] for each in json.loads(done.stdout)["findings"]}
    texts = {each["code"]: each["text"] for each in json.loads(done.stdout)["findings"]}
    assert (levels["libvirt"], levels["qemu"], levels["clone-engine"]) == ("problem", "problem", "warning")
    assert "libvirt.so.0" in texts["libvirt"]
    assert "Traceback" not in done.stderr
