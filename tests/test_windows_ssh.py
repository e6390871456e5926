"""labctl's way to Windows machines, against an SSH server of this process that speaks as OpenSSH of Windows does."""

import base64
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from labctl import powershell, ssh
from labctl.checks.model import Question, Result
from labctl.checks.questions import CONTROLLER, FOLDER, windows_payload
from labctl.lab.checking import SshProber, run_checks
from labctl.monitor import Silent
from labctl.ssh import Answer, Login, Unreachable
from labctl.topology.hardware import System
from tests.checks.asking import make

OBJECTS = '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{}</Objs>'
ERROR = OBJECTS.format('<S S="Error">Acc_x00E8_s refus_x00E9__x000D__x000A_</S><Obj S="progress" RefId="0" />')
END = "; exit $LASTEXITCODE"


class Windows(paramiko.ServerInterface):
    """A recorded Windows: answers commands, and scripts on standard input, with what was recorded for them."""

    def __init__(self, recorded: dict[str, tuple[int, bytes, bytes]]) -> None:
        self.recorded = recorded
        self.users: list[str] = []
        self.commands: list[str] = []
        self.scripts: list[str] = []

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        self.users.append(username)
        return AUTH_SUCCESSFUL if username == "Administrator" else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.answer, args=(channel, command.decode()), daemon=True).start()
        return True

    def answer(self, channel: paramiko.Channel, command: str) -> None:
        """The login shell is PowerShell: it ends with the code of the program because the command asks for it."""
        stdin = b"".join(iter(lambda: channel.recv(1 << 15), b""))
        assert command.endswith(END)
        encoded = re.fullmatch(r"powershell\.exe .* -EncodedCommand ([A-Za-z0-9+/=]+)", command.removesuffix(END))
        script = base64.b64decode(encoded[1]).decode("utf-16-le") if encoded else command.removesuffix(END)
        if script == powershell.READ_SCRIPT:  # by lines, in ASCII, whatever the code page
            script = base64.b64decode("".join(stdin.decode("ascii").splitlines())).decode()
        if wrapped := re.match(r"\$script = '([A-Za-z0-9+/=]+)'\n", script):  # a controller's system runs it
            assert script[wrapped.end() :] == (FOLDER / CONTROLLER).read_text(encoding="utf-8")
            script = base64.b64decode(wrapped[1]).decode()
        self.commands.append(command)
        self.scripts.append(script)
        code, out, err = next((said for part, said in self.recorded.items() if part in script), (0, b"", b""))
        channel.sendall(out)
        channel.sendall_stderr(err)
        channel.send_exit_status(code)
        channel.close()


class Machine:
    """A machine behind one port of this host, and the login that labctl has for it."""

    def __init__(self, folder: Path, recorded: dict[str, tuple[int, bytes, bytes]]) -> None:
        self.windows = Windows(recorded)
        self.host_key = key_file(folder / "host")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n")
        key_file(folder / "login")
        self.login = Login("dc", "127.0.0.1", folder / "login", known, System.WINDOWS)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.local_version = "SSH-2.0-OpenSSH_for_Windows_8.1"
            transport.add_server_key(self.host_key)
            transport.start_server(server=self.windows, event=threading.Event())


def key_file(path: Path) -> paramiko.Ed25519Key:
    form = serialization.PrivateFormat.OpenSSH
    private = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paramiko.Ed25519Key.from_private_key_file(str(path))


RECORDED = {
    "'échoue'": (3, "Accès refusé\r\n".encode("cp850"), ERROR.encode()),
    "Invoke-Round": (0, b'[{"seconds":0.5,"code":0,"out":"{\\"state\\":\\"Running\\",\\"start\\":\\"Auto\\"}"}]', b""),
    "Stop-Service": (1, b"", ERROR.encode("cp850")),
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = Machine(tmp_path, RECORDED)
    monkeypatch.setattr(ssh, "MANAGEMENT_PORT", found.port)
    yield found
    found.listener.close()


def test_labctl_logs_in_as_the_administrator_and_runs_a_command(machine: Machine) -> None:
    assert ssh.wait_login(machine.login, deadline=20) < 20
    assert machine.windows.users[-1] == "Administrator"
    assert machine.windows.commands == ["cmd.exe /c ver; exit $LASTEXITCODE"]


def test_exit_code_code_page_and_errors_are_read(machine: Machine) -> None:
    found = ssh.run(machine.login, ["prog", "échoue"], deadline=20)
    assert found == Answer(3, "Accès refusé\n", "Accès refusé\n")


def test_another_host_key_is_refused(machine: Machine, tmp_path: Path) -> None:
    other = key_file(tmp_path / "other")
    machine.login.known_hosts.write_text(f"[127.0.0.1]:{machine.port} {other.get_name()} {other.get_base64()}\n")
    with pytest.raises(Unreachable, match="another host key"):
        ssh.run(machine.login, ["hostname"], deadline=20)
    machine.login.known_hosts.write_text("")
    with pytest.raises(Unreachable):
        ssh.run(machine.login, ["hostname"], deadline=20)
    assert machine.windows.commands == []


def test_a_check_is_asked_by_powershell_and_its_parameters_are_data(machine: Machine) -> None:
    prober = SshProber(ssh, {"dc": machine.login})
    check = make({"type": "service", "unit": "NTDS"}, origin="dc")
    (found,) = run_checks([check], prober, Silent())
    assert (found.result, found.seen) == (Result.PASSED, "running, Auto")
    (script,) = machine.windows.scripts
    assert "NTDS" not in script, "a parameter never is a part of the script"


def test_a_script_of_a_fault_ends_with_its_code_and_its_error(machine: Machine) -> None:
    script = "Stop-Service -Name 'Bruno d’Arc'\n" * 300
    found = ssh.run(machine.login, powershell.RUN_SCRIPT, stdin=windows_payload(script), deadline=20)
    assert (found.code, found.stderr) == (1, "Accès refusé\n")
    assert machine.windows.scripts == [script]
    assert len(machine.windows.commands[0]) < 8191, "what cmd.exe takes"


def test_a_machine_that_answers_nonsense_decides_nothing(machine: Machine) -> None:
    machine.windows.recorded = {
        "": (0, b"\xff\xfe<Objs", b"#< CLIXML\r\n<!DOCTYPE x [<!ENTITY a 'b'>]><Objs>&a;</Objs>")
    }
    questions = [Question("one", {"do": "ping", "host": "x", "timeout": 1}, "", system=System.WINDOWS)]
    (reply,) = SshProber(ssh, {"dc": machine.login}).probe("dc", questions)
    assert "no usable answer" in reply.error


WORDS = [
    "plain", "", "two words", 'say "yes"', "it's", "d’Arc", "back\\", "C:\\Program Files\\", '\\"', "$env:PATH", "`n",
    "; exit 0", "| more", "a,b", "-a.b", "%PATH%", "é", "@x", "#",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_stays_one_string_of_powershell(word: str) -> None:
    """PowerShell's own rule: in single marks, only marks are special, and a doubled one stands for itself."""
    quoted = powershell.quote(word)
    inside = quoted[1:-1]
    assert re.fullmatch("(?:[^'\u2018\u2019\u201a\u201b]|(['\u2018\u2019\u201a\u201b])\\1)*", inside)
    assert re.sub("(['\u2018\u2019\u201a\u201b])\\1", r"\1", inside) == word


@pytest.mark.parametrize("word", WORDS)
def test_a_program_gets_a_word_whole(word: str) -> None:
    """PowerShell 5.1 puts marks around a word with spaces as it is; then the C runtime splits the command line."""
    told = powershell.native(word) if word else '""'
    line = f'"{told}"' if re.search(r"\s", told) else told
    assert line in {subprocess.list2cmdline([word]), f'"{told}"'} or '"' in word
    assert powershell.native(word).count('"') == word.count('"')


def test_errors_that_are_none_stay_as_they_are() -> None:
    assert powershell.read_errors("plain") == "plain"
    assert powershell.read_errors("#< CLIXML\r\n<Objs broken</Objs>").startswith("#< CLIXML")
    assert powershell.read_errors("before\n" + ERROR + "\nafter") == "before\nAccès refusé\nafter"
    assert powershell.read_errors(OBJECTS.format('<S S="Error">_xD83D__xDE00_</S>')) == "\U0001f600"
