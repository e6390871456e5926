"""The REST API of one OPNsense: rules of a scenario, applied with the firewall's own way back.

Endpoints: docs.opnsense.org, development/api/core/firewall (names of 25.7 and later). Key and secret travel in a
header, over TLS to the one certificate that labctl gave the firewall.
"""

import base64
import http.client
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from pydantic import JsonValue

from labctl.appliances.web import PORT, TIMEOUT, Unreachable, connect, unreachable, wait_for
from labctl.checks.lines import printable
from labctl.errors import LabctlError, Refused
from labctl.language import _

LARGEST = 1 << 20  # bytes of an answer
OK = frozenset({"ok", "saved", "deleted"})
GONE = frozenset({"not found"})
SAYS_NOTHING = frozenset({""})
Answer = Mapping[str, JsonValue]


class NoSuchEndpoint(LabctlError):
    """The firewall has no such act: its version is another one."""


def chosen(value: JsonValue) -> str:
    """Return a field as it is written: of a list of options, those that are selected, with commas."""
    if not isinstance(value, dict):
        return str(value)
    options = ((key, one) for key, one in value.items() if isinstance(one, dict))
    return ",".join(key for key, one in options if str(one.get("selected", "0")) == "1")


@dataclass(frozen=True)
class OPNsense:
    """One firewall. `address` may have a zone (fe80::1%bridge); `timeout` is in seconds for each exchange.

    `certificate` is the PEM text of the only certificate that is accepted.
    """

    address: str
    key: str
    secret: str = field(repr=False)
    certificate: str = field(repr=False)
    port: int = PORT
    timeout: float = TIMEOUT

    def change_rules(self, put: Mapping[str, Mapping[str, str]], removed: Collection[str] = ()) -> None:
        """Put rules by their UUIDs, remove others, and have all of it in force together.

        A rule that is there already is replaced, one that is gone already is no error. Raises LabctlError naming a
        wrong field, Unreachable: what was written by then is not in force, or goes back by itself after a minute.
        """
        revision = self.savepoint()
        for uuid, rule in put.items():
            self.expect(self.post(f"firewall/filter/set_rule/{uuid}", {"rule": dict(rule)}), "set_rule")
        for uuid in removed:
            self.expect(self.post(f"firewall/filter/del_rule/{uuid}"), "del_rule", GONE)
        self.expect(self.post("/".join(["firewall/filter/apply", *revision])), "apply")
        for made in revision:
            # The program behind it prints nothing (rollback_cancel.php), which is the status then.
            self.expect(self.post(f"firewall/filter/cancel_rollback/{made}"), "cancel_rollback", SAYS_NOTHING)

    def savepoint(self) -> tuple[str, ...]:
        """Return the revision that the firewall goes back to where a change locks labctl out.

        Nothing where its version cannot go back (opnsense/core 26.7 has no such endpoint).
        """
        try:
            answer = self.post("firewall/filter/savepoint")
        except NoSuchEndpoint:
            return ()
        self.expect(answer, "savepoint")
        return (str(answer.get("revision", "")),)

    def read_rule(self, uuid: str) -> Mapping[str, str]:
        """Return a rule's fields, nothing where there is no such rule."""
        rule = self.get(f"firewall/filter/get_rule/{uuid}").get("rule")
        return {name: chosen(value) for name, value in rule.items()} if isinstance(rule, dict) else {}

    def wait_ready(self, deadline: float) -> None:
        """Return once the API answers.

        Raises DeadlineMissed after `deadline` seconds, Refused for another certificate or refused keys.
        """
        wait_for(lambda: self.get("diagnostics/system/system_information"), deadline)

    def get(self, path: str) -> Answer:
        """Return the answer to a question."""
        return self.ask("GET", path)

    def post(self, path: str, body: Mapping[str, JsonValue] | None = None) -> Answer:
        """Return the answer to an order."""
        return self.ask("POST", path, dict(body or {}))

    def ask(self, method: str, path: str, body: JsonValue = None) -> Answer:
        """Return the JSON object that the firewall answers.

        Raises Unreachable where it does not, Refused for another certificate or refused keys, LabctlError for the rest.
        """
        connection = connect(self.address, self.certificate, self.port, self.timeout)
        try:
            token = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
            headers = {"Authorization": f"Basic {token}", "Accept": "application/json", "Host": self.host}
            data = None
            if method == "POST":
                data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
            connection.request(method, f"/api/{path}", data, headers)
            answer = connection.getresponse()
            return self.read(path, answer.status, answer.read(LARGEST + 1))
        except (OSError, http.client.HTTPException) as exc:
            raise unreachable(self.address, exc) from exc
        finally:
            connection.close()

    @property
    def host(self) -> str:
        """Return the address as a header has it, without the zone, which is the host's own."""
        plain = self.address.partition("%")[0]
        return f"[{IPv6Address(plain)}]" if ":" in plain else plain

    def read(self, path: str, status: int, data: bytes) -> Answer:
        """Return the object of an answer. Raises Refused for 401 and 403, LabctlError for what is no such answer."""
        if status in {401, 403}:
            text = _('the firewall refuses labctl\'s key for "{path}"')
            raise Refused(text.format(path=path), hint="labctl status")
        if status in {502, 503}:
            raise Unreachable(_("the firewall's web server has nothing behind it yet ({status})").format(status=status))
        if status == http.client.NOT_FOUND:
            text = _('the firewall does not know "{path}": its version is another one')
            raise NoSuchEndpoint(text.format(path=path))
        try:
            answer = json.loads(data[:LARGEST]) if len(data) <= LARGEST else None
        except ValueError:
            answer = None
        if answer == []:
            answer = {}  # as PHP writes an empty object
        if status != http.client.OK or not isinstance(answer, dict):
            text = _('the firewall answers "{path}" with {status} and not as its documentation says')
            raise LabctlError(text.format(path=path, status=status))
        return answer

    def expect(self, answer: Answer, act: str, well: Collection[str] = frozenset()) -> None:
        """Raise LabctlError where an order was not carried out, with the firewall's own reason for each field.

        `well` are the results that are as good as the common ones.
        """
        result = str(answer.get("result") or answer.get("status") or "").strip().lower()
        if result in {*OK, *well}:
            return
        wrong = answer.get("validations")
        reasons = (
            "; ".join(f"{name}: {reason}" for name, reason in wrong.items()) if isinstance(wrong, dict) else result
        )
        text = _("the firewall did not do {act}: {reason}")
        raise LabctlError(text.format(act=act, reason=printable(reasons) or _("no reason given")))
